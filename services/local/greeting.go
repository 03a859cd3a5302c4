package local

import (
	"fmt"
	"net"
	"strings"
)

// url is where the API is served, as a person on this machine would type it.
func (l *Local) url() string {
	host, port, err := net.SplitHostPort(l.gateway.Addr())
	if err != nil {
		return "http://" + l.gateway.Addr()
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// durability says what a 202 is worth.
func (l *Local) durability() string {
	if l.config.Sync {
		return "a 202 means that the call is on disk (--sync): it survives the loss of power"
	}
	return "a 202 means that the call survives any kill of this process, but not the loss of power: --sync makes it so"
}

// greet tells what is served and what to try.
func (l *Local) greet() {
	var text strings.Builder
	fmt.Fprintf(&text, "\nSluice serves\n  API      %s\n  NATS     %s   (prefix %q)\n  ops      http://%s/metrics, /health, /ready, /debug/pprof/\n  data     %s\n  queue    %s\n\n",
		l.url(), l.nats.url(), l.config.Bus.Prefix, l.ops.Addr(), l.folder.path, l.durability())
	if len(l.workloads) == 0 {
		text.WriteString("No functions: name manifests on the command line, such as deploy/demo/manifests\n")
	} else {
		l.greetFunctions(&text)
	}
	_, _ = fmt.Fprintln(l.out, text.String()) // nothing depends on it
}

func (l *Local) greetFunctions(text *strings.Builder) {
	text.WriteString("Functions\n")
	for _, w := range l.workloads {
		fmt.Fprintf(text, "  %-20s %s/function/%s   (%s)\n", w.Function.Name, l.url(), w.Function.Name, w.Source)
	}
	name := l.workloads[0].Function.Name
	fmt.Fprintf(text, "\nTry\n  curl -i %s/function/%s/health\n  curl -i -X POST %s/async-function/%s -d '{\"input\":10}'\n", l.url(), name, l.url(), name)
	fmt.Fprintf(text, "  nats pub %s.call.%s '{\"input\":10}'\n  curl %s/functions/%s\n", l.config.Bus.Prefix, name, l.url(), name)
}
