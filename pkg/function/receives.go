package function

// Receives returns whether the function gets the event at the path, which is given as its publisher sent it, from a publisher who is
// inside, or is not. A subscription opens a private function to its event, but not the paths that a rule makes private.
func (f Function) Receives(event, rawPath string, inside bool) bool {
	if !f.Subscribes(event, inside) {
		return false
	}
	f.DefaultVisibility = Public // of this copy
	return inside || f.VisibilityOf(rawPath) == Public
}
