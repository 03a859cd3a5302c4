package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

const (
	// natsStartTimeout bounds the recovery of the streams at start.
	natsStartTimeout = 60 * time.Second
	// natsMaxPayload is the largest message, and so about the largest body of a queued call.
	natsMaxPayload = 8 << 20
	// storeShare is how much of the space that its volume has for it JetStream may use.
	storeShare = 0.8
	// callsShare is how much of that queued calls may take, so that dead letters and records still fit when they are full.
	callsShare = 0.9
	// natsMaxMemory bounds JetStream's memory streams, of which Sluice has none.
	natsMaxMemory = 64 << 20
)

// natsServer is the embedded NATS server: a real one with a real listener.
type natsServer struct {
	options server.Options
	logger  zerolog.Logger
	running atomic.Pointer[server.Server]
}

// newNATSServer prepares a server that keeps its streams in folder.
func newNATSServer(listen, folder string, sync bool, logger zerolog.Logger) (*natsServer, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("--nats-listen %q: want host:port, such as 127.0.0.1:4222: %w", listen, err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("--nats-listen %q: port %q is not a number from 0 to 65535", listen, port)
	}
	store, err := storeLimit(folder)
	if err != nil {
		return nil, err
	}
	options := server.Options{
		ServerName: "sluice-local", Host: host, Port: int(number), NoSigs: true, MaxPayload: natsMaxPayload,
		JetStream: true, StoreDir: filepath.Join(folder, "nats"), SyncAlways: sync,
		JetStreamMaxStore: store, JetStreamMaxMemory: natsMaxMemory,
	}
	if number == 0 {
		options.Port = server.RANDOM_PORT
	}
	return &natsServer{options: options, logger: logger}, nil
}

// storeLimit is how many bytes JetStream may store: a share of what is free or already its own.
func storeLimit(folder string) (int64, error) {
	free, err := freeSpace(folder)
	if err != nil {
		return 0, err
	}
	return int64(float64(free+sizeOf(filepath.Join(folder, "nats"))) * storeShare), nil
}

// callsLimit is how many bytes queued calls may take when nobody has said it.
func (n *natsServer) callsLimit() int64 {
	return int64(float64(n.options.JetStreamMaxStore) * callsShare)
}

// start starts the server, also after stop, and returns when it serves.
func (n *natsServer) start(ctx context.Context) error {
	if err := n.portIsFree(ctx); err != nil {
		return err
	}
	options := n.options
	running, err := server.NewServer(&options)
	if err != nil {
		return fmt.Errorf("make the NATS server: %w", err)
	}
	running.SetLoggerV2(natsLog{n.logger}, false, false, false)
	running.Start()
	if !running.ReadyForConnections(natsStartTimeout) {
		running.Shutdown()
		return fmt.Errorf("the NATS server does not serve %s after its start: the log says more", natsStartTimeout)
	}
	if address, ok := running.Addr().(*net.TCPAddr); ok {
		n.options.Port = address.Port
	}
	n.running.Store(running)
	return nil
}

// portIsFree says in a sentence what to do if it is not: the server itself only logs it.
func (n *natsServer) portIsFree(ctx context.Context) error {
	if n.options.Port == server.RANDOM_PORT {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", n.address())
	if err != nil {
		return fmt.Errorf("NATS cannot listen on %s: stop what uses the port or choose another with --nats-listen: %w", n.address(), err)
	}
	return listener.Close()
}

func (n *natsServer) address() string {
	return net.JoinHostPort(n.options.Host, strconv.Itoa(n.options.Port))
}

// url is the address for clients, after start.
func (n *natsServer) url() string { return "nats://" + n.address() }

// InProcessConn gives our own services connections that do without the network. Others use the listener.
func (n *natsServer) InProcessConn() (net.Conn, error) {
	running := n.running.Load()
	if running == nil {
		return nil, errors.New("the NATS server is stopped")
	}
	return running.InProcessConn()
}

// stop ends the server and returns when it has.
func (n *natsServer) stop() {
	if running := n.running.Swap(nil); running != nil {
		running.Shutdown()
		running.WaitForShutdown()
	}
}

// natsLog passes on what the server says, from warnings upwards.
type natsLog struct{ logger zerolog.Logger }

func (l natsLog) Noticef(format string, v ...any) { l.logger.Debug().Msgf("nats: "+format, v...) }
func (l natsLog) Warnf(format string, v ...any)   { l.logger.Warn().Msgf("nats: "+format, v...) }
func (l natsLog) Errorf(format string, v ...any)  { l.logger.Error().Msgf("nats: "+format, v...) }
func (l natsLog) Debugf(string, ...any)           {}
func (l natsLog) Tracef(string, ...any)           {}

func (l natsLog) Fatalf(format string, v ...any) {
	l.logger.Error().Err(errors.New("fatal")).Msgf("nats: "+format, v...)
}
