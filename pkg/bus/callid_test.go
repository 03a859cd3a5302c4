package bus

import (
	"math"
	"regexp"
	"testing"
)

func TestCallIDRoundTrip(t *testing.T) {
	for _, created := range []int64{0, 1, 1_700_000_000_000, math.MaxInt64} {
		for _, sequence := range []uint64{0, 1, 35, 36, 1 << 40, math.MaxUint64} {
			id := formatCallID(created, sequence)
			if !regexp.MustCompile(`^[0-9a-z]+-[0-9a-z]+$`).MatchString(id) {
				t.Errorf("%q is not safe in a URL and a key", id)
			}
			c, s, err := ParseCallID(id)
			if err != nil || c != created || s != sequence {
				t.Errorf("%q: got %d %d %v", id, c, s, err)
			}
		}
	}
}

func TestCallIDIsRefused(t *testing.T) {
	for _, id := range []string{"", "-", "a", "a-", "-a", "a-b-c", "A-b", "a-B", "01-1", "1-01", "+1-1", "1-+1", "a_b", "1-zzzzzzzzzzzzzzz", " 1-1"} {
		if _, _, err := ParseCallID(id); err == nil {
			t.Errorf("%q is accepted", id)
		}
	}
}

func FuzzParseCallID(f *testing.F) {
	for _, id := range []string{"mwqu4zi7-2", "0-0", "-1-1", "a-b-c", "é-1", ""} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		created, sequence, err := ParseCallID(id)
		if err == nil && formatCallID(created, sequence) != id {
			t.Errorf("%q is a second name of %d %d", id, created, sequence)
		}
	})
}
