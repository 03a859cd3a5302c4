package function

import "testing"

// TestRow2Receives: a public subscription does not open a path that a rule makes private, however it is spelled.
func TestRow2Receives(t *testing.T) {
	for _, visibility := range []Visibility{Public, Private} {
		f := Function{
			Name: "f", DefaultVisibility: visibility, PathVisibility: []PathRule{{Prefix: "/admin", Visibility: Private}},
			SubscribeEvents: []Subscription{{Event: "open", Visibility: Public}, {Event: "closed", Visibility: Private}},
		}
		for _, test := range []struct {
			event, path string
			inside      bool
			want        bool
		}{
			{"open", "/x", false, true}, {"open", "/", false, true}, {"open", "/admin", false, false}, {"open", "/x/..//%61dmin/y", false, false}, {"open", "/admin", true, true},
			{"closed", "/x", false, false}, {"closed", "/admin", true, true}, {"other", "/x", true, false},
		} {
			if got := f.Receives(test.event, test.path, test.inside); got != test.want {
				t.Errorf("%s function, event %s at %s, inside %v: %v", visibility, test.event, test.path, test.inside, got)
			}
		}
		if f.DefaultVisibility != visibility {
			t.Error("the function was changed")
		}
	}
}
