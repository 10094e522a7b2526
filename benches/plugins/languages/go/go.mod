module edits

go 1.24

require headworks.dev/headworks v0.1.0

replace headworks.dev/headworks => ../../../../sdk/go
