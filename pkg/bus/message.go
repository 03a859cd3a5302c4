package bus

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/function"
)

// ErrBadMessage says that a message cannot be turned into a call.
var ErrBadMessage = errors.New("the message is not a valid call")

// Call is one asynchronous request for a function.
type Call struct {
	Function string
	Method   string
	// Path is the escaped path below the function, as the caller sent it; it starts with a slash.
	Path string
	// Query is the raw query without its question mark.
	Query  string
	Header http.Header
	Body   []byte
	// Reader, if set, has the body in place of Body: it is put into the object store. Size is its length in bytes, -1 for unknown.
	// PublishCall alone reads it.
	Reader io.Reader
	Size   int64
	// IdempotencyKey makes PublishCall queue a call once: the same call with the same key gets the id of the first one, another call with it
	// ErrKeyReused. It is not in the message.
	IdempotencyKey string
	// ResultTo is a token of AwaitResult, or empty.
	ResultTo string
	// Event is the name of the event that the function gets by this call, on every ready replica; empty for an ordinary call.
	Event string

	// stored is where the body is, if it is in the object store.
	stored storedBody
}

// encode turns a call into a message. No header of the caller keeps a name that NATS or Sluice would act on.
func (n Names) encode(call Call) *nats.Msg {
	header := nats.Header(call.Header) // the same map: another one would cost a call more than all else here
	if header == nil {
		header = nats.Header{}
	}
	escape(header)
	if call.Method != http.MethodPost { // the default, and the most frequent one
		header[HeaderMethod] = []string{call.Method}
	}
	if call.Path != "" && call.Path != "/" {
		header[HeaderPath] = []string{call.Path}
	}
	if call.Query != "" {
		header[HeaderQuery] = []string{call.Query}
	}
	if validResultToken(call.ResultTo) {
		header[HeaderResultTo] = []string{call.ResultTo}
	}
	if call.Event != "" {
		header[HeaderEvent] = []string{call.Event}
	}
	if call.stored.name != "" {
		header[HeaderBody] = []string{call.stored.name}
		header[HeaderBodySize] = []string{strconv.FormatInt(call.stored.size, 10)}
	}
	return &nats.Msg{Subject: n.CallSubject(call.Function), Header: header, Data: call.Body}
}

// escape renames what NATS would act on, and removes what Sluice would.
func escape(header nats.Header) {
	var control []string
	for name := range header {
		switch {
		case hasPrefixFold(name, "Nats-"):
			control = append(control, name)
		case hasPrefixFold(name, "Sluice-"):
			delete(header, name)
		}
	}
	for _, name := range control {
		header[HeaderEscape+name] = header[name]
		delete(header, name)
	}
}

// decode is the inverse of encode; it also takes what other NATS clients publish. The error wraps ErrBadMessage.
func (n Names) decode(msg *nats.Msg) (Call, error) {
	function, ok := n.FunctionOf(msg.Subject)
	if !ok {
		return Call{}, fmt.Errorf("%w: subject %q is no call subject", ErrBadMessage, msg.Subject)
	}
	return decodeHeader(msg, Call{Function: function, Method: http.MethodPost, Path: "/", Header: http.Header{}, Body: msg.Data})
}

// decodeHeader adds what the header of the message says to the call.
func decodeHeader(msg *nats.Msg, call Call) (Call, error) {
	if brokenHeader(msg) {
		return call, fmt.Errorf("%w: its header block cannot be read", ErrBadMessage)
	}
	for name, values := range msg.Header {
		if err := call.take(name, values); err != nil {
			return call, err
		}
	}
	if call.stored.name != "" {
		call.Body = nil
	}
	return call, check(call.stored.complete(), HeaderBody, call.stored.name, "the name of a stored body, with its size in "+HeaderBodySize)
}

// take adds one header of the message to the call.
func (c *Call) take(name string, values []string) error {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	if known, err := c.takeOwn(canonical, first(values)); known {
		return err
	}
	canonical, ok := unescape(name)
	if !ok {
		return nil
	}
	if err := check(validToken(canonical), "header name", canonical, "an HTTP token (RFC 9110 §5.1)"); err != nil {
		return err
	}
	for _, value := range values {
		if err := check(validValue(value), "header "+canonical, value, "an HTTP field value (RFC 9110 §5.5)"); err != nil {
			return err
		}
	}
	c.Header[canonical] = append(c.Header[canonical], values...)
	return nil
}

// takeOwn takes a header of ours; known is false for any other.
func (c *Call) takeOwn(canonical, value string) (known bool, err error) {
	switch canonical {
	case HeaderMethod:
		c.Method = value
		return true, check(validToken(value), canonical, value, "an HTTP method")
	case HeaderPath:
		c.Path = value
		return true, check(validPath(value), canonical, value, "a path that starts with /, escaped")
	case HeaderQuery:
		c.Query = value
		return true, check(inRequestLine(value), canonical, value, "an escaped query")
	case HeaderBody:
		c.stored.name = value
		return true, check(validWord(value), canonical, value, "the name of a stored body")
	case HeaderBodySize:
		c.stored.size, err = strconv.ParseInt(value, 10, 64)
		c.stored.sized = err == nil && c.stored.size >= 0
		return true, check(c.stored.sized, canonical, value, "a number of bytes")
	case HeaderResultTo:
		if validResultToken(value) { // else nobody waits with it
			c.ResultTo = value
		}
		return true, nil
	case HeaderEvent:
		if function.ValidEvent(value) == nil {
			c.Event = value
		}
		return true, nil
	}
	return false, nil
}

// unescape is the name that a header of a message had before escape; ok is false for one that is ours or the server's.
func unescape(name string) (canonical string, ok bool) {
	switch {
	case hasPrefixFold(name, HeaderEscape+"Nats-"):
		return textproto.CanonicalMIMEHeaderKey(name[len(HeaderEscape):]), true
	case hasPrefixFold(name, "Nats-"), hasPrefixFold(name, "Sluice-"):
		return "", false
	}
	return textproto.CanonicalMIMEHeaderKey(name), true
}

// brokenHeader reports whether the message came with a header block that the client library could not parse: it drops
// such a block and passes the message on, whose size still counts it.
func brokenHeader(msg *nats.Msg) bool {
	return msg.Header == nil && msg.Size() > len(msg.Subject)+len(msg.Reply)+len(msg.Data)
}

func check(ok bool, field, value, want string) error {
	if ok {
		return nil
	}
	const longest = 100
	if len(value) > longest {
		value = value[:longest] + "…"
	}
	return fmt.Errorf("%w: %s %q is not %s", ErrBadMessage, field, value, want)
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// validPath reports whether s can be the path in a request line. It is no stricter than the gateway, whose callers have their 202
// when this is looked at.
func validPath(s string) bool {
	_, err := url.PathUnescape(s)
	return err == nil && strings.HasPrefix(s, "/") && !strings.Contains(s, "?") && inRequestLine(s)
}

// inRequestLine reports whether s has neither spaces nor control bytes, which would end a part of the request line.
func inRequestLine(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func validToken(s string) bool {
	const separators = "()<>@,;:\\\"/[]?={}"
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte(separators, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}

func validValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
