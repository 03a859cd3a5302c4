package bus

import (
	"fmt"
	"strconv"
	"strings"
)

// A call's id is its place in the calls stream: the stream's creation stamp (Unix milliseconds) and the sequence, both in
// base 36 with a dash between. It is known with the publish ack, and the same for whoever published the call.

func formatCallID(created int64, sequence uint64) string {
	return strconv.FormatInt(created, 36) + "-" + strconv.FormatUint(sequence, 36)
}

// ParseCallID splits an id into the creation stamp of its stream and its sequence there.
func ParseCallID(id string) (created int64, sequence uint64, err error) {
	stamp, place, found := strings.Cut(id, "-")
	if found {
		created, err = strconv.ParseInt(stamp, 36, 64)
	}
	if found && err == nil {
		sequence, err = strconv.ParseUint(place, 36, 64)
	}
	if !found || err != nil || formatCallID(created, sequence) != id {
		return 0, 0, fmt.Errorf("call id %q is not of the form <stamp>-<sequence>", id)
	}
	return created, sequence, nil
}
