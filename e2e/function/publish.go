package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publishTimeout bounds one publish with its acknowledgement.
const publishTimeout = 10 * time.Second

// publication is one message to send. Without Ack it is a plain publish, as `nats pub` does it.
type publication struct {
	Subject string            `json:"subject"`
	Header  map[string]string `json:"header"`
	Body    string            `json:"body"`
	Ack     bool              `json:"ack"`
}

// publish is another service of the cluster that knows NATS and nothing of Sluice. NATS_URL, NATS_USER and NATS_PASSWORD say where and as whom.
func publish(ctx context.Context) error {
	conn, err := nats.Connect(os.Getenv("NATS_URL"), nats.UserInfo(os.Getenv("NATS_USER"), os.Getenv("NATS_PASSWORD")),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond), nats.Name("e2e-publish"),
		nats.CustomInboxPrefix("_INBOX.sluice.client")) // the user may listen to no other
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if !conn.IsConnected() {
			http.Error(w, fmt.Sprintf("not connected to NATS: %v", conn.LastError()), http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		var p publication
		if !readJSON(w, r, &p) {
			return
		}
		place, err := send(r.Context(), js, p)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		answer(w, map[string]uint64{"sequence": place})
	})
	return listen(ctx, mux)
}

// send publishes and returns the message's place in the stream, 0 if that was not asked for.
func send(ctx context.Context, js jetstream.JetStream, p publication) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	msg := nats.NewMsg(p.Subject)
	msg.Data = []byte(p.Body)
	for key, value := range p.Header {
		msg.Header.Set(key, value)
	}
	if !p.Ack {
		if err := js.Conn().PublishMsg(msg); err != nil {
			return 0, fmt.Errorf("publish to %s: %w", p.Subject, err)
		}
		return 0, js.Conn().FlushWithContext(ctx)
	}
	ack, err := js.PublishMsg(ctx, msg)
	if err != nil {
		return 0, fmt.Errorf("publish to %s: %w", p.Subject, err)
	}
	return ack.Sequence, nil
}
