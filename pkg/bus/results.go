package bus

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// Result is how a call has ended, for a caller who waits for it.
type Result struct {
	// ID is the call's.
	ID string `json:"id"`
	// Status, Header and Body are those of the answer; Status is 0 if the last attempt got none.
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
	// Truncated says that the answer was too large to be handed over.
	Truncated bool `json:"truncated,omitempty"`
	// Reason and Detail say why the call was given up, empty if it succeeded.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// maxResultHeader bounds the header block of a Result.
const maxResultHeader = 64 << 10

// MaxResultBody bounds the body of a Result, in bytes: what one message of the server can carry with its header.
func (b *Bus) MaxResultBody() int { return int(max(0, b.maxPayload.Load()-2*maxResultHeader)) }

// results are the callers of one Bus who wait for a Result. All of them share one subscription, which is made for the first one.
type results struct {
	mu sync.Mutex
	// stop ends the subscription, nil while there is none; guarded by mu.
	stop func()
	// own is the first word of every token; guarded by mu. It is random, so that nobody can answer who has not been told the token.
	own     string
	count   uint64                 // of the tokens that were given out; guarded by mu
	waiting map[string]chan Result // by token; guarded by mu
}

// AwaitResult returns a token for Call.ResultTo and the channel that brings the Result, if there is one. stop ends the wait.
func (b *Bus) AwaitResult() (token string, result <-chan Result, stop func(), err error) {
	r := &b.results
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == nil {
		own := rand.Text()
		stop, err := b.subscribe(b.ResultSubject(own+".*"), b.takeResult)
		if err != nil {
			return "", nil, func() {}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		r.stop, r.own, r.waiting = stop, own, map[string]chan Result{}
	}
	r.count++
	token = r.own + "." + strconv.FormatUint(r.count, 36)
	ch := make(chan Result, 1)
	r.waiting[token] = ch
	return token, ch, func() { r.take(token) }, nil
}

// take ends a wait and returns its channel, nil if it has ended before.
func (r *results) take(token string) chan Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := r.waiting[token]
	delete(r.waiting, token)
	return ch
}

// close ends the subscription; it returns when nothing more is told.
func (r *results) close() {
	r.mu.Lock()
	stop := r.stop
	r.mu.Unlock()
	if stop != nil {
		stop() // without mu, which takeResult needs
	}
}

// takeResult hands a message to who waits for it. Each channel gets one value at most, for which it has room.
func (b *Bus) takeResult(msg *nats.Msg) {
	if ch := b.results.take(strings.TrimPrefix(msg.Subject, b.ResultSubject(""))); ch != nil {
		ch <- decodeResult(msg)
	}
}

// SendResult hands a result to whoever waits with the token. Nobody may be waiting any more. It does not change the result.
func (b *Bus) SendResult(token string, result Result) error {
	if !validResultToken(token) {
		return fmt.Errorf("hand over the result of call %s: %q is not a token of a result", result.ID, token)
	}
	if len(result.Body) > b.MaxResultBody() || headerSize(nats.Header(result.Header)) > maxResultHeader {
		result.Header, result.Body, result.Truncated = nil, nil, true
	}
	msg := encodeResult(result)
	msg.Subject = b.ResultSubject(token)
	if err := b.conn.PublishMsg(msg); err != nil {
		return fmt.Errorf("hand over the result of call %s: %w", result.ID, err)
	}
	return nil
}

// encodeResult carries the answer as it is, with the rules for headers that calls have.
func encodeResult(result Result) *nats.Msg {
	header := nats.Header{}
	maps.Copy(header, result.Header)
	maps.DeleteFunc(header, func(name string, _ []string) bool { return !sendable(name) })
	escape(header)
	set := func(name, value string) {
		if value != "" {
			header[name] = []string{value}
		}
	}
	set(HeaderResultID, result.ID)
	set(HeaderResultStatus, strconv.Itoa(result.Status))
	set(HeaderResultReason, result.Reason)
	set(HeaderResultDetail, result.Detail[:min(len(result.Detail), maxDeadDetail)])
	if result.Truncated {
		set(HeaderResultTruncated, "true")
	}
	return &nats.Msg{Header: header, Data: result.Body}
}

func decodeResult(msg *nats.Msg) Result {
	status, _ := strconv.Atoi(msg.Header.Get(HeaderResultStatus)) // 0, no answer, if it cannot be read
	result := Result{
		ID: msg.Header.Get(HeaderResultID), Status: status, Header: http.Header{}, Body: msg.Data,
		Truncated: msg.Header.Get(HeaderResultTruncated) == "true",
		Reason:    msg.Header.Get(HeaderResultReason), Detail: msg.Header.Get(HeaderResultDetail),
	}
	for name, values := range msg.Header {
		if name, ok := unescape(name); ok {
			result.Header[name] = values
		}
	}
	return result
}

// validResultToken reports whether the token is two words of letters and digits, as AwaitResult makes them: a result is published with it.
func validResultToken(token string) bool {
	own, number, found := strings.Cut(token, ".")
	return found && validWord(own) && validWord(number)
}

func validWord(word string) bool {
	const longest = 64
	return word != "" && len(word) <= longest && strings.Trim(word, wordLetters) == ""
}
