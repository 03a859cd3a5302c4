package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	// heartbeat is how often a client hears something, so that nobody between takes the connection for dead.
	heartbeat = 15 * time.Second
	// streamWrite bounds one write to a client.
	streamWrite = 10 * time.Second
	// streamBacklog bounds the events that wait for a client, beside the newest snapshot.
	streamBacklog = 64
)

// streamClient is one client of a statusStream. Only the goroutine of statusStream.run sends to it.
type streamClient struct {
	inside bool
	// begun says that it has got its first snapshot; it belongs to the goroutine of run.
	begun bool
	// state has the newest snapshot, if the client has not taken it.
	state    chan []byte
	activity chan []byte
	// slow is closed when activity is full: the client is dropped.
	slow    chan struct{}
	dropped bool // belongs to the goroutine of run
}

func newStreamClient(inside bool) *streamClient {
	return &streamClient{inside: inside, state: make(chan []byte, 1), activity: make(chan []byte, streamBacklog), slow: make(chan struct{})}
}

// tell puts a snapshot in the place of one that was not taken.
func (c *streamClient) tell(state []byte) {
	select {
	case <-c.state:
	default:
	}
	c.state <- state
}

// show sends movements, if the first snapshot was sent.
func (c *streamClient) show(frames [][]byte) {
	if !c.begun || c.dropped {
		return
	}
	for _, frame := range frames {
		select {
		case c.activity <- frame:
		default:
			c.dropped = true
			close(c.slow)
			return
		}
	}
}

// streamStatus answers with events until the client hangs up, is too slow, or the gateway stops.
func (g *Gateway) streamStatus(c echo.Context) error {
	if p := g.notStarted(); p != nil {
		return p
	}
	client := g.stream.join(g.isInside(c.Request()))
	if client == nil {
		return problem(fullStreams, "%d clients follow the status already, no more can", maxStreams)
	}
	defer g.stream.leave(client)
	w := c.Response().Writer
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	if c.Request().ProtoMajor == 1 {
		h.Set("Connection", "close") // the deadlines of writing must not be those of a further request
	}
	w.WriteHeader(http.StatusOK)
	client.serve(c.Request().Context(), w, g.closing)
	return nil
}

// serve writes what is sent to the client, the first snapshot first.
func (c *streamClient) serve(ctx context.Context, w http.ResponseWriter, closing <-chan struct{}) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var activity <-chan []byte // nil until the first snapshot
	for {
		var frame []byte
		select {
		case frame = <-c.state:
			activity = c.activity
		case frame = <-activity:
		case <-beat.C:
			frame = []byte(":\n\n")
		case <-c.slow:
			return
		case <-closing:
			return
		case <-ctx.Done():
			return
		}
		if writeEvent(w, frame) != nil {
			return
		}
	}
}

// writeEvent sends one event at once.
func writeEvent(w http.ResponseWriter, frame []byte) error {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(streamWrite)) // every server of ours can
	if _, err := w.Write(frame); err != nil {
		return err
	}
	return control.Flush()
}
