package e2e

import (
	"slices"
	"testing"
	"time"
)

// compare holds that every accepted call was delivered, and that at most so many deliveries were of calls that had been delivered already.
// It returns how many were. duplicates below 0 are any number.
func compare(t *testing.T, accepted []string, records []record, duplicates int) int {
	t.Helper()
	deliveries := map[string]int{}
	for _, r := range records {
		if r.Async {
			deliveries[r.ID]++
		}
	}
	var lost []string
	again := 0
	for _, id := range accepted {
		if deliveries[id] == 0 {
			lost = append(lost, id)
		}
		again += max(deliveries[id]-1, 0)
	}
	if len(lost) > 0 {
		t.Errorf("%d of %d accepted calls were never delivered: %v", len(lost), len(accepted), lost[:min(len(lost), 10)])
	}
	if duplicates >= 0 && again > duplicates {
		t.Errorf("%d deliveries too many, want %d at most", again, duplicates)
	}
	return again
}

// longestPause is the longest time without an async delivery between two times.
func longestPause(records []record, from, to time.Time) time.Duration {
	times := []int64{from.UnixNano(), to.UnixNano()}
	for _, r := range records {
		if r.Async && r.Start > from.UnixNano() && r.Start < to.UnixNano() {
			times = append(times, r.Start)
		}
	}
	slices.Sort(times)
	longest := int64(0)
	for i := range times[1:] {
		longest = max(longest, times[i+1]-times[i])
	}
	return time.Duration(longest)
}

func TestMostCountsWhatOverlaps(t *testing.T) {
	records := []record{{Start: 0, End: 10}, {Start: 5, End: 15}, {Start: 10, End: 20}, {Start: 12, End: 13}, {Start: 1}}
	if got := most(records); got != 3 {
		t.Errorf("got %d, want 3: those of 5, 10 and 12", got)
	}
}

func TestLongestPauseHasTheEdges(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	records := []record{{Async: true, Start: at(3).UnixNano()}, {Start: at(5).UnixNano()}, {Async: true, Start: at(4).UnixNano()}}
	if got := longestPause(records, at(0), at(9)); got != 5*time.Second {
		t.Errorf("got %s, want the 5 s from 4 to 9", got)
	}
}
