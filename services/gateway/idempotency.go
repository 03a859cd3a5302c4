package gateway

import (
	"net/http"
	"strings"
)

const (
	headerIdempotencyKey = "Idempotency-Key"
	maxIdempotencyKey    = 256
)

// idempotencyKey is the key with which a call is queued once, empty if the caller has sent none. It may stand in quotes, which are not
// part of it.
func idempotencyKey(h http.Header) (string, *Problem) {
	values, sent := h[headerIdempotencyKey]
	if !sent {
		return "", nil
	}
	if len(values) != 1 {
		return "", problem(badRequest, "%s: it came %d times, it must come once", headerIdempotencyKey, len(values))
	}
	key, ok := unquote(values[0])
	if !ok || key == "" || len(key) > maxIdempotencyKey || strings.ContainsFunc(key, invisible) {
		return "", problem(badRequest, "%s: %.300q must have 1 to %d visible ASCII characters, in quotes or without", headerIdempotencyKey, values[0], maxIdempotencyKey)
	}
	return key, nil
}

// unquote takes the quotes off a string of RFC 8941 §3.3.3; what does not begin with one is left as it is.
func unquote(value string) (text string, ok bool) {
	if !strings.HasPrefix(value, `"`) {
		return value, true
	}
	var plain strings.Builder
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '"':
			return plain.String(), i == len(value)-1
		case '\\':
			i++
			if i == len(value) || value[i] != '"' && value[i] != '\\' {
				return "", false
			}
		}
		plain.WriteByte(value[i])
	}
	return "", false
}

func invisible(r rune) bool { return r <= ' ' || r > '~' }
