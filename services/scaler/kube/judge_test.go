package kube

import "testing"

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		title                  string
		wanted, known, current int
		want                   verdict
	}{
		{"raise", 2, 1, 1, write},
		{"raise, others have more", 2, 1, 5, leave},
		{"raise, others have as many", 2, 1, 2, leave},
		{"raise, others have fewer", 5, 1, 3, write},
		{"raise, others have lowered", 2, 1, 0, write},
		{"cut", 1, 3, 3, write},
		{"cut, others have raised", 1, 3, 4, refuse},
		{"cut, others have lowered a little", 1, 3, 2, write},
		{"cut, others have lowered as far", 1, 3, 1, leave},
		{"cut, others have lowered further", 1, 3, 0, leave},
		{"the same", 2, 2, 2, leave},
		{"the same, others have more", 2, 2, 3, leave},
		{"the same, others have fewer", 2, 2, 0, write},
	} {
		if got := judge(c.wanted, c.known, c.current); got != c.want {
			t.Errorf("%s: got %d, want %d", c.title, got, c.want)
		}
	}
}

func TestOlder(t *testing.T) {
	at := func(uid, version string) count { return count{uid: "u" + "-" + "1", version: version} }
	if !older(at("1", "9"), at("1", "10")) || older(at("1", "10"), at("1", "9")) || older(at("1", "9"), at("1", "9")) {
		t.Error("versions of one object are compared by number")
	}
	if older(count{uid: "a", version: "1"}, count{uid: "b", version: "2"}) || older(count{version: ""}, count{version: "2"}) {
		t.Error("what cannot be compared is older")
	}
}
