package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// maxWait bounds how long the caller of an async call may wait for its end.
const maxWait = 300 * time.Second

// preferences are what a caller asks for with Prefer (RFC 7240), as far as we know it.
type preferences struct {
	// respondAsync asks for an answer before the call has run.
	respondAsync bool
	// wait is how long he waits for the end of the call before that, 0 for not at all.
	wait time.Duration
}

// callFunction proxies a call, or queues it if its caller prefers that.
func (g *Gateway) callFunction(c echo.Context) error {
	if len(c.Request().Header["Prefer"]) > 0 && parsePrefer(c.Request().Header).respondAsync {
		return g.callAsync(c)
	}
	return g.callSync(c)
}

// parsePrefer reads all lines of Prefer. What is not well-formed or not known is passed over, and of a preference that comes twice
// the first one counts (RFC 7240 §2).
func parsePrefer(h http.Header) (p preferences) {
	waited := false
	for _, line := range h["Prefer"] {
		for _, one := range splitQuoted(line, ',') {
			first := splitQuoted(one, ';')[0] // parameters follow, of which our preferences have none
			name, value, _ := strings.Cut(first, "=")
			switch strings.ToLower(trimSpace(name)) {
			case "respond-async":
				p.respondAsync = true
			case "wait":
				if !waited {
					p.wait, waited = waitOf(trimSpace(value)), true
				}
			}
		}
	}
	return p
}

// waitOf reads the seconds of wait, 0 if they are none (RFC 7240 §4.3).
func waitOf(value string) time.Duration {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return 0
	}
	seconds, err := strconv.ParseUint(value, 10, 32)
	if err != nil { // only because it is too large
		return maxWait
	}
	return min(time.Duration(seconds)*time.Second, maxWait)
}

// applied is what Preference-Applied says (RFC 7240 §3).
func (p preferences) applied() string {
	var names []string
	if p.respondAsync {
		names = append(names, "respond-async")
	}
	if p.wait > 0 {
		names = append(names, "wait="+strconv.Itoa(int(p.wait/time.Second)))
	}
	return strings.Join(names, ", ")
}

// splitQuoted splits a field's value at a separator that is not in a quoted string (RFC 9110 §5.6.4). It returns at least one part.
func splitQuoted(value string, separator byte) (parts []string) {
	begin, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch {
		case quoted && value[i] == '\\':
			i++
		case value[i] == '"':
			quoted = !quoted
		case value[i] == separator && !quoted:
			parts = append(parts, value[begin:i])
			begin = i + 1
		}
	}
	return append(parts, value[begin:])
}

func trimSpace(value string) string { return strings.Trim(value, " \t") }
