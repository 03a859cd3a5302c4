package gateway

import (
	"crypto/rand"
)

// newCallID returns an id for a call that is not queued: it only has to be unique.
func newCallID() string { return rand.Text() }
