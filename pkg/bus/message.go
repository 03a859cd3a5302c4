package bus

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
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
	call := Call{Function: function, Method: http.MethodPost, Path: "/", Header: http.Header{}, Body: msg.Data}
	if brokenHeader(msg) {
		return call, fmt.Errorf("%w: its header block cannot be read", ErrBadMessage)
	}
	for name, values := range msg.Header {
		if err := call.take(name, values); err != nil {
			return call, err
		}
	}
	return call, nil
}

// take adds one header of the message to the call.
func (c *Call) take(name string, values []string) error {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case canonical == HeaderMethod:
		c.Method = first(values)
		return check(validToken(c.Method), HeaderMethod, c.Method, "an HTTP method")
	case canonical == HeaderPath:
		c.Path = first(values)
		return check(validPath(c.Path), HeaderPath, c.Path, "a path that starts with /, escaped")
	case canonical == HeaderQuery:
		c.Query = first(values)
		return check(inRequestLine(c.Query), HeaderQuery, c.Query, "an escaped query")
	case hasPrefixFold(name, HeaderEscape+"Nats-"):
		canonical = textproto.CanonicalMIMEHeaderKey(name[len(HeaderEscape):])
	case hasPrefixFold(name, "Nats-"), hasPrefixFold(name, "Sluice-"):
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
