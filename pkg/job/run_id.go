package job

import (
	"crypto/sha256"
	"fmt"
	"time"
)

// RunIDFor is the id of a run whose request has an Idempotency-Key: the same key of the same job is the same run.
func RunIDFor(definition, idempotencyKey string) string {
	const hashed = 26
	return "k-" + shortHash(fmt.Appendf(nil, "%d:%s/%s", len(definition), definition, idempotencyKey), hashed)
}

// RunIDAt is the id of a run whose publisher has chosen none, by the place of its message in a stream of that creation time: a stream that was made anew
// counts from 1 again.
func RunIDAt(stream string, created time.Time, sequence uint64) string {
	const hashed = 6
	return fmt.Sprintf("s-%s-%d", shortHash(fmt.Appendf(nil, "%s/%d", stream, created.UnixNano()), hashed), sequence)
}

// shortHash is the beginning of a hash, in characters that fit everywhere.
func shortHash(of []byte, characters int) string {
	sum := sha256.Sum256(of)
	return base32Lower.EncodeToString(sum[:])[:characters]
}
