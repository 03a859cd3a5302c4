package bustest

import "go.uber.org/goleak"

// Leaks are the options of goleak for a package whose tests start servers: nats-server loses two goroutines when it is shut down while it makes a stream, or
// right after that.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	}
}
