package headworks

// Lookup gives the row of a table under a key as a document, which is read, changed and given away like the event's
// data; nil where there is no such row. Only in Transform. Where the gateway has no such table at all, the call ends
// here: the event waits in quarantine until the table is there.
func Lookup(table, key string) *Document {
	row := lookup(table, key)
	if row == gone {
		return nil
	}
	return newDocument(row)
}
