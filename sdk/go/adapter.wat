;; Answers the parts of WASI preview 1 that Go's runtime asks for, so that a plugin imports nothing but the gateway's
;; own interface: output becomes lines of the log, the clock is the event's time and moves only by sleeping, randomness
;; is fixed bytes, and there are no files. `headworks plugin build` joins it to what `go build` made.
(module
  (import "env" "memory" (memory 0))
  (import "headworks:plugin/host@0.2.0" "log" (func $log (param i32 i32 i32)))

  ;; Nanoseconds since 1970 at the beginning of the call.
  (global $wall (mut i64) (i64.const 0))
  ;; The steady clock: Go stops where it reads zero.
  (global $steady (mut i64) (i64.const 1000000))
  (global $steady_at_begin (mut i64) (i64.const 1000000))
  ;; A line that is not yet whole, in memory that the SDK lends.
  (global $buffer (mut i32) (i32.const 0))
  (global $capacity (mut i32) (i32.const 0))
  (global $used (mut i32) (i32.const 0))
  (global $descriptor (mut i32) (i32.const 0))

  ;; Not of WASI: called by the SDK around each call of the plugin.
  (func (export "headworks_begin") (param $wall i64) (param $buffer i32) (param $capacity i32)
    (global.set $wall (local.get $wall))
    (global.set $steady_at_begin (global.get $steady))
    (global.set $buffer (local.get $buffer))
    (global.set $capacity (local.get $capacity))
    (global.set $used (i32.const 0)))
  (func $flush (export "headworks_end")
    (if (global.get $used)
      (then
        (call $write_line (global.get $buffer) (global.get $used))
        (global.set $used (i32.const 0)))))

  (func $write_line (param $text i32) (param $length i32)
    (call $log (call $level (local.get $text) (local.get $length)) (local.get $text) (local.get $length)))
  ;; The runtime's last words are an error, standard error a warning, standard output information.
  (func $level (param $text i32) (param $length i32) (result i32)
    (if (i32.ge_u (local.get $length) (i32.const 8))
      (then
        ;; "panic: " and "fatal er"
        (if (i32.or
              (i64.eq (i64.and (i64.load align=1 (local.get $text)) (i64.const 0x00ffffffffffffff))
                      (i64.const 0x00203a63696e6170))
              (i64.eq (i64.load align=1 (local.get $text)) (i64.const 0x7265206c61746166)))
          (then (return (i32.const 3))))))
    (select (i32.const 2) (i32.const 1) (i32.eq (global.get $descriptor) (i32.const 2))))

  (func $put (param $byte i32)
    (if (i32.eq (local.get $byte) (i32.const 10))
      (then (call $flush) (return)))
    (if (i32.ge_u (global.get $used) (global.get $capacity))
      (then (call $flush)))
    (i32.store8 (i32.add (global.get $buffer) (global.get $used)) (local.get $byte))
    (global.set $used (i32.add (global.get $used) (i32.const 1))))

  (func (export "fd_write") (param $descriptor i32) (param $vectors i32) (param $count i32) (param $written i32) (result i32)
    (local $text i32) (local $left i32) (local $sum i32)
    (if (i32.gt_u (i32.sub (local.get $descriptor) (i32.const 1)) (i32.const 1))
      (then (return (i32.const 8))))
    (if (i32.ne (local.get $descriptor) (global.get $descriptor))
      (then (call $flush) (global.set $descriptor (local.get $descriptor))))
    (block $done
      (loop $vector
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $text (i32.load (local.get $vectors)))
        (local.set $left (i32.load offset=4 (local.get $vectors)))
        (local.set $sum (i32.add (local.get $sum) (local.get $left)))
        (if (global.get $capacity)
          (then
            (block $end
              (loop $byte
                (br_if $end (i32.eqz (local.get $left)))
                (call $put (i32.load8_u (local.get $text)))
                (local.set $text (i32.add (local.get $text) (i32.const 1)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br $byte))))
          (else (call $write_line (local.get $text) (local.get $left))))
        (local.set $vectors (i32.add (local.get $vectors) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $vector)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $time i32) (result i32)
    (i64.store (local.get $time)
      (if (result i64) (local.get $clock)
        (then (global.get $steady))
        (else (i64.add (global.get $wall) (i64.sub (global.get $steady) (global.get $steady_at_begin))))))
    (i32.const 0))
  (func (export "clock_res_get") (param i32) (param $resolution i32) (result i32)
    (i64.store (local.get $resolution) (i64.const 1))
    (i32.const 0))

  ;; Sleeping returns at once and moves the clock on.
  (func (export "poll_oneoff") (param $subscription i32) (param $event i32) (param $count i32) (param $events i32) (result i32)
    (local $made i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i32.eqz (i32.load8_u offset=8 (local.get $subscription)))
          (then
            (if (i32.and (i32.load16_u offset=40 (local.get $subscription)) (i32.const 1))
              (then
                (if (i64.gt_u (i64.load offset=24 (local.get $subscription)) (global.get $steady))
                  (then (global.set $steady (i64.load offset=24 (local.get $subscription))))))
              (else
                (global.set $steady
                  (i64.add (global.get $steady) (i64.load offset=24 (local.get $subscription))))))
            (i64.store (local.get $event) (i64.load (local.get $subscription)))
            (i64.store offset=8 (local.get $event) (i64.const 0))
            (i64.store offset=16 (local.get $event) (i64.const 0))
            (i64.store offset=24 (local.get $event) (i64.const 0))
            (local.set $event (i32.add (local.get $event) (i32.const 32)))
            (local.set $made (i32.add (local.get $made) (i32.const 1)))))
        (local.set $subscription (i32.add (local.get $subscription) (i32.const 48)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $events) (local.get $made))
    (i32.const 0))

  (func (export "random_get") (param $bytes i32) (param $length i32) (result i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (i32.store8 (i32.add (local.get $bytes) (local.get $length))
          (i32.add (i32.mul (local.get $length) (i32.const 151)) (i32.const 73)))
        (br $next)))
    (i32.const 0))

  (func (export "proc_exit") (param i32)
    (call $flush)
    (unreachable))
  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; No arguments and no environment.
  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))
  (func $nothing (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $nothing))
  (export "environ_get" (func $nothing))

  ;; No file is open: EBADF is 8. None can be opened: ENOENT is 44. The rest is not there: ENOSYS is 52.
  (func $badf_i (param i32) (result i32) (i32.const 8))
  (export "fd_close" (func $badf_i))
  (export "fd_datasync" (func $badf_i))
  (export "fd_sync" (func $badf_i))
  (func $badf_ii (param i32 i32) (result i32) (i32.const 8))
  (export "fd_fdstat_get" (func $badf_ii))
  (export "fd_fdstat_set_flags" (func $badf_ii))
  (export "fd_filestat_get" (func $badf_ii))
  (export "fd_prestat_get" (func $badf_ii))
  (export "fd_renumber" (func $badf_ii))
  (export "fd_tell" (func $badf_ii))
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func $badf_iijj (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (export "fd_pread" (func $badf_iijj))
  (export "fd_pwrite" (func $badf_iijj))
  (export "fd_readdir" (func $badf_iijj))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func $noent_3 (param i32 i32 i32) (result i32) (i32.const 44))
  (export "path_create_directory" (func $noent_3))
  (export "path_remove_directory" (func $noent_3))
  (export "path_unlink_file" (func $noent_3))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 44))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 44))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 44))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 44))
  (func $noent_6 (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 44))
  (export "path_readlink" (func $noent_6))
  (export "path_rename" (func $noent_6))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 44))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 52))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 52))
)
