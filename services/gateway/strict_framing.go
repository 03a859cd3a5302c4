package gateway

import (
	"bytes"
	"strconv"
)

const (
	// maxFramingLine bounds what is kept of a line that comes in pieces.
	maxFramingLine = 64 << 10
	// keptLine is the buffer that an idle connection may hold on to.
	keptLine = 1 << 10
)

// framingError says what is ambiguous in a request.
type framingError struct {
	reason string
	// late says that the head of the request was read before, so that its handler may be running.
	late bool
}

// Error is the reason, for the caller.
func (e *framingError) Error() string { return e.reason }

var (
	errBareLF     = &framingError{reason: "a line ends with LF alone; lines end with CRLF (RFC 9112 §2.2)"}
	errBareCR     = &framingError{reason: "a line contains CR alone; lines end with CRLF (RFC 9112 §2.2)"}
	errLongLine   = &framingError{reason: "a header line is longer than 64 KiB"}
	errFolded     = &framingError{reason: "a header line begins with white space (RFC 9112 §5.2)"}
	errTwoLengths = &framingError{reason: "Content-Length is there more than once (RFC 9112 §6.3)"}
	errLength     = &framingError{reason: "Content-Length is not a decimal number (RFC 9110 §8.6)"}
	errTwoCodings = &framingError{reason: "Transfer-Encoding is there more than once (RFC 9112 §6.1)"}
	errCoding     = &framingError{reason: `Transfer-Encoding is not "chunked" (RFC 9112 §6.1)`}
	errBoth       = &framingError{reason: "Content-Length and Transfer-Encoding are both there (RFC 9112 §6.3)"}
	errOldCoding  = &framingError{reason: "Transfer-Encoding is not for HTTP/1.0 (RFC 9112 §6.1)"}
	errChunkSize  = &framingError{reason: "a chunk does not begin with its size (RFC 9112 §7.1)"}
	errChunkEnd   = &framingError{reason: "a chunk does not end with CRLF (RFC 9112 §7.1)"}
)

type framingState int

const (
	atRequestLine framingState = iota
	inFields
	inBody
	atChunkSize
	inChunk
	atChunkEnd
	inTrailer
	inHTTP2 // after its preface: what follows is frames
	lost    // after a problem: nothing that follows has a meaning
)

// framing follows the requests on one connection: where heads and bodies begin and end (RFC 9112 §6 and §7). It is
// at least as strict as net/http, so that both always agree where the next request begins.
type framing struct {
	state framingState
	// line is the beginning of a line whose end has not been read.
	line []byte
	// left is how many bytes of the body or chunk follow.
	left int64
	// preface is how many bytes of http2Preface the connection has begun with, -1 after another byte.
	preface int

	// newHead says that the last head ended in the bytes that are followed now.
	newHead bool
	// Facts of the head that is read.
	old, hasLength, hasCoding bool
	length                    int64
}

// follow takes the next bytes of the connection. After it returned a problem it does nothing.
func (f *framing) follow(p []byte) *framingError {
	f.newHead = false
	if f.preface >= 0 && f.followPreface(p) {
		return nil
	}
	for len(p) > 0 && f.state != lost && f.state != inHTTP2 {
		var problem *framingError
		if f.state == inBody || f.state == inChunk {
			p = f.skip(p)
		} else {
			p, problem = f.followLine(p)
		}
		if problem != nil {
			late := f.state >= atChunkSize && !f.newHead
			*f = framing{state: lost, preface: -1}
			return &framingError{reason: problem.reason, late: late}
		}
	}
	return nil
}

// http2Preface is what a connection begins with whose client speaks HTTP/2 from the first byte on (RFC 9113 §3.4).
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// followPreface reports whether the connection has begun with the preface, whole: exactly then net/http speaks HTTP/2 too.
// As long as it may, its bytes are followed as HTTP/1.1 as well, and are nothing ambiguous there.
func (f *framing) followPreface(p []byte) bool {
	n := min(len(p), len(http2Preface)-f.preface)
	if string(p[:n]) != http2Preface[f.preface:f.preface+n] {
		f.preface = -1
		return false
	}
	f.preface += n
	if f.preface < len(http2Preface) {
		return false
	}
	*f = framing{state: inHTTP2, preface: -1}
	return true
}

// skip passes over data of a body.
func (f *framing) skip(p []byte) []byte {
	n := min(int64(len(p)), f.left)
	f.left -= n
	if f.left == 0 {
		if f.state == inBody {
			f.state = atRequestLine
		} else {
			f.state = atChunkEnd
		}
	}
	return p[n:]
}

// followLine takes one line from p, or its beginning, and returns the rest.
func (f *framing) followLine(p []byte) ([]byte, *framingError) {
	end := bytes.IndexByte(p, '\n') + 1
	if end == 0 {
		if len(f.line)+len(p) > maxFramingLine {
			return nil, errLongLine
		}
		f.line = append(f.line, p...)
		return nil, nil
	}
	line := p[:end]
	if len(f.line) > 0 {
		line = append(f.line, line...)
	}
	problem := f.wholeLine(line)
	f.line = f.line[:0]
	if cap(f.line) > keptLine {
		f.line = nil
	}
	return p[end:], problem
}

// wholeLine takes a line with its LF.
func (f *framing) wholeLine(line []byte) *framingError {
	text := line[:len(line)-1]
	switch cr := bytes.IndexByte(text, '\r'); {
	case cr < 0:
		return errBareLF
	case cr < len(text)-1:
		return errBareCR
	}
	text = text[:len(text)-1]
	switch f.state {
	case atRequestLine:
		f.requestLine(line)
	case inFields:
		return f.field(text)
	case atChunkSize:
		return f.chunkSize(text)
	case atChunkEnd:
		return f.chunkEnd(text)
	case inTrailer:
		return f.trailerField(text)
	case inBody, inChunk, inHTTP2, lost: // not read by lines
	}
	return nil
}

// requestLine begins a head. Empty lines before it are not for us to judge: net/http passes over some.
func (f *framing) requestLine(line []byte) {
	if len(line) == len("\r\n") {
		return
	}
	f.old = bytes.HasSuffix(line, []byte(" HTTP/1.0\r\n"))
	f.hasLength, f.hasCoding, f.length = false, false, 0
	f.state = inFields
}

func (f *framing) field(text []byte) *framingError {
	if len(text) == 0 {
		return f.headEnd()
	}
	if text[0] == ' ' || text[0] == '\t' {
		return errFolded
	}
	name, value, _ := bytes.Cut(text, []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		return f.contentLength(bytes.Trim(value, " \t"))
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		return f.transferCoding(bytes.Trim(value, " \t"))
	}
	return nil
}

func (f *framing) contentLength(value []byte) *framingError {
	if f.hasLength {
		return errTwoLengths
	}
	f.hasLength = true
	length, err := strconv.ParseUint(string(value), 10, 63)
	if err != nil {
		return errLength
	}
	f.length = int64(length)
	return nil
}

func (f *framing) transferCoding(value []byte) *framingError {
	if f.hasCoding {
		return errTwoCodings
	}
	f.hasCoding = true
	if !bytes.EqualFold(value, []byte("chunked")) {
		return errCoding
	}
	return nil
}

func (f *framing) headEnd() *framingError {
	f.newHead = true
	switch {
	case f.hasCoding && f.hasLength:
		return errBoth
	case f.hasCoding && f.old:
		return errOldCoding
	case f.hasCoding:
		f.state = atChunkSize
	case f.length > 0:
		f.left, f.state = f.length, inBody
	default:
		f.state = atRequestLine
	}
	return nil
}

// chunkSize takes "1a", "1a  " or "1a;extension".
func (f *framing) chunkSize(text []byte) *framingError {
	digits, _, _ := bytes.Cut(text, []byte(";"))
	size, err := strconv.ParseUint(string(bytes.TrimRight(digits, " \t")), 16, 63)
	if err != nil {
		return errChunkSize
	}
	f.left, f.state = int64(size), inChunk
	if size == 0 {
		f.state = inTrailer
	}
	return nil
}

func (f *framing) chunkEnd(text []byte) *framingError {
	if len(text) > 0 {
		return errChunkEnd
	}
	f.state = atChunkSize
	return nil
}

func (f *framing) trailerField(text []byte) *framingError {
	switch {
	case len(text) == 0:
		f.state = atRequestLine
	case text[0] == ' ' || text[0] == '\t':
		return errFolded
	}
	return nil
}
