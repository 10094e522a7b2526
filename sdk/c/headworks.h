/* The Headworks plugin contract for C, as the component model's canonical ABI writes it into memory. One file of the
 * plugin defines HEADWORKS_IMPLEMENTATION before it includes this. Texts are not ended by a zero. Everything that the
 * gateway hands over, and what `headworks_allocate` gives, lives until the next call begins. */
#ifndef HEADWORKS_H
#define HEADWORKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct { const char *at; uint32_t length; } headworks_text;
typedef struct { uint8_t there; headworks_text text; } headworks_optional_text;

/* A handle of a document that the gateway holds. */
typedef uint32_t headworks_document;

typedef enum { HEADWORKS_NULL, HEADWORKS_BOOLEAN, HEADWORKS_INTEGER, HEADWORKS_NUMBER, HEADWORKS_TEXT, HEADWORKS_JSON } headworks_kind;

typedef struct {
    uint8_t kind;
    union { uint8_t boolean; int64_t integer; double number; headworks_text text; };
} headworks_value;

typedef struct { uint8_t there; headworks_value value; } headworks_optional_value;

typedef enum { HEADWORKS_SET, HEADWORKS_REMOVE, HEADWORKS_MOVE } headworks_edit_kind;

typedef struct {
    uint8_t kind;
    union {
        struct { headworks_text pointer; headworks_value value; } set;
        headworks_text remove;
        struct { headworks_text from, to; } move;
    };
} headworks_edit;

typedef struct {
    headworks_text id, source, type;
    headworks_optional_text subject;
    headworks_text time;
    headworks_optional_text app_version;
    headworks_text partner, schema;
    headworks_document data;
} headworks_event;

typedef struct { headworks_text name, value; } headworks_header;

/* What is absent is taken from the route. A zeroed output with `document` set is a record of it. */
typedef struct {
    headworks_optional_text destination, topic, key;
    struct { const headworks_header *at; uint32_t count; } headers;
    uint8_t is_bytes;
    union { headworks_document document; headworks_text bytes; };
} headworks_output;

typedef struct { const headworks_output *at; uint32_t count; } headworks_outputs;
struct headworks_values { headworks_optional_value *at; uint32_t count; };
struct headworks_applied { uint8_t failed; headworks_text reason; };
struct headworks_parsed { uint8_t failed; union { headworks_document document; headworks_text reason; }; };

typedef enum { HEADWORKS_REJECTED, HEADWORKS_BROKEN } headworks_failure;

_Static_assert(sizeof(void *) == 4, "a plugin is built for wasm32");
_Static_assert(sizeof(headworks_optional_value) == 24 && sizeof(headworks_edit) == 32, "the canonical ABI's sizes");
_Static_assert(sizeof(headworks_event) == 76 && sizeof(headworks_output) == 56, "the canonical ABI's sizes");

#define HEADWORKS_TEXT_OF(literal) ((headworks_text){ (literal), sizeof(literal) - 1 })

/* The plugin's own two functions. */

/* The route's configuration, as JSON text. False, with `*refusal` set, refuses it. */
bool headworks_configure(headworks_text config, headworks_text *refusal);
/* False, with `*failure` and `*reason` set, puts the event into quarantine. */
bool headworks_transform(const headworks_event *event, headworks_outputs *outputs, headworks_failure *failure,
                         headworks_text *reason);

/* Memory for this call, all zero. */
void *headworks_allocate(size_t size);

/* What the gateway gives. */

#define HEADWORKS_IMPORT(interface, name) \
    __attribute__((import_module("headworks:plugin/" interface "@0.1.0"), import_name(name)))

HEADWORKS_IMPORT("host", "log") void headworks_log(uint32_t level, const char *at, uint32_t length);
HEADWORKS_IMPORT("host", "count") void headworks_count(const char *at, uint32_t length, uint64_t amount);
HEADWORKS_IMPORT("types", "[method]document.get")
void headworks_document_get(headworks_document document, const char *at, uint32_t length, headworks_optional_value *value);
HEADWORKS_IMPORT("types", "[method]document.get-all")
void headworks_document_get_all(headworks_document document, const headworks_text *pointers, uint32_t count,
                                struct headworks_values *values);
HEADWORKS_IMPORT("types", "[method]document.apply")
void headworks_document_apply(headworks_document document, const headworks_edit *edits, uint32_t count,
                              struct headworks_applied *applied);
HEADWORKS_IMPORT("types", "[method]document.copy") headworks_document headworks_document_copy(headworks_document document);
HEADWORKS_IMPORT("types", "[method]document.to-json") void headworks_document_to_json(headworks_document document, headworks_text *json);
HEADWORKS_IMPORT("types", "[static]document.from-json")
void headworks_document_from_json(const char *at, uint32_t length,
                                  struct headworks_parsed *parsed);
/* Every document of a call that no output takes is dropped, the event's own too. */
HEADWORKS_IMPORT("types", "[resource-drop]document") void headworks_document_drop(headworks_document document);

#ifdef HEADWORKS_IMPLEMENTATION

#include <stdlib.h>

/* What was allocated in this call, each block behind a link to the one before. */
static struct headworks_block { struct headworks_block *before; uint64_t bytes[]; } *headworks_blocks;

void *headworks_allocate(size_t size) {
    struct headworks_block *block = calloc(1, sizeof(struct headworks_block) + size);
    if (block == NULL) __builtin_trap();
    block->before = headworks_blocks;
    headworks_blocks = block;
    return block->bytes;
}

static void headworks_free_blocks(void) {
    while (headworks_blocks != NULL) {
        struct headworks_block *before = headworks_blocks->before;
        free(headworks_blocks);
        headworks_blocks = before;
    }
}

__attribute__((export_name("cabi_realloc")))
void *headworks_cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size) {
    (void)alignment;
    void *made = headworks_allocate(size);
    if (old_size > 0) memcpy(made, old, old_size);
    return made;
}

__attribute__((export_name("configure")))
const void *headworks_export_configure(const char *at, uint32_t length) {
    static struct { uint8_t failed; headworks_text reason; } result;
    result.failed = !headworks_configure((headworks_text){ at, length }, &result.reason);
    return &result;
}
__attribute__((export_name("cabi_post_configure"))) void headworks_post_configure(const void *result) {
    (void)result;
    headworks_free_blocks();
}

__attribute__((export_name("transform")))
const void *headworks_export_transform(const headworks_event *event) {
    static struct {
        uint8_t failed;
        union { headworks_outputs outputs; struct { uint8_t failure; headworks_text reason; }; };
    } result;
    headworks_outputs outputs = { NULL, 0 };
    headworks_failure failure = HEADWORKS_BROKEN;
    headworks_text reason = { NULL, 0 };
    result.failed = !headworks_transform(event, &outputs, &failure, &reason);
    if (result.failed) {
        result.failure = (uint8_t)failure;
        result.reason = reason;
    } else {
        result.outputs = outputs;
    }
    return &result;
}
__attribute__((export_name("cabi_post_transform"))) void headworks_post_transform(const void *result) {
    (void)result;
    headworks_free_blocks();
}

#endif
#endif
