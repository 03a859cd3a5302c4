package jobrunner

import (
	"github.com/nats-io/nats.go"
)

type natsMsg = nats.Msg

// raw is a plain connection, as any NATS client has.
func (f *fixture) raw() *nats.Conn {
	f.t.Helper()
	conn, err := nats.Connect(f.server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50_000_000))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(conn.Close)
	return conn
}
