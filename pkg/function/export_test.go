package function

// FigureOf is figureOf.
func FigureOf(query, function string) string { return figureOf(query, function) }

// ReadingsOf is readingsOf.
func ReadingsOf(path string) ([]string, bool) { return readingsOf(path) }

// KeysInForce are the keys of all annotations that are read.
func KeysInForce() []string { return keysInForce }
