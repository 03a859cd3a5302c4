package local

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// url is where the API is served, as a person on this machine would type it.
func (l *Local) url() string { return urlOf(l.gateway.Addr()) }

// insideURL is the same for callers who are inside.
func (l *Local) insideURL() string { return urlOf(l.gateway.InsideAddr()) }

func urlOf(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "http://" + address
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
	fmt.Fprintf(&text, "\nSluice serves\n  API      %s\n  inside   %s   (SLUICE_URL of functions and jobs: private ones answer there)\n  NATS     %s   (prefix %q)\n  ops      http://%s/metrics, /health, /ready, /debug/pprof/\n  data     %s\n  queue    %s\n\n",
		l.url(), l.insideURL(), l.nats.url(), l.config.Bus.Prefix, l.ops.Addr(), l.folder.path, l.durability())
	functions := slices.DeleteFunc(slices.Clone(l.contents.Workloads), func(w Workload) bool { return w.Watched })
	if len(functions) == 0 {
		text.WriteString("No functions: name manifests on the command line, such as deploy/demo/manifests\n")
	} else {
		l.greetFunctions(&text, functions)
	}
	if jobs := l.contents.Jobs; len(jobs) > 0 {
		l.greetJobs(&text, jobs)
	}
	if len(l.config.Manifests) > 0 {
		text.WriteString("\nManifests are followed: save one, and what it says is so.\n")
	}
	_, _ = fmt.Fprintln(l.out, text.String()) // nothing depends on it
}

func (l *Local) greetFunctions(text *strings.Builder, functions []Workload) {
	text.WriteString("Functions\n")
	for _, w := range functions {
		fmt.Fprintf(text, "  %-20s %s/function/%s   (%s)\n", w.Function.Name, l.url(), w.Function.Name, w.Source)
	}
	name := functions[0].Function.Name
	fmt.Fprintf(text, "\nTry\n  curl -i %s/function/%s/health\n  curl -i -X POST %s/async-function/%s -d '{\"input\":10}'\n", l.url(), name, l.url(), name)
	fmt.Fprintf(text, "  nats pub %s.call.%s '{\"input\":10}'\n  curl %s/functions\n", l.config.Bus.Prefix, name, l.url())
}

func (l *Local) greetJobs(text *strings.Builder, jobs []Job) {
	text.WriteString("\nJobs\n")
	for _, j := range jobs {
		fmt.Fprintf(text, "  %-20s %s/job/%s   (%s)\n", j.Definition.Name, l.url(), j.Definition.Name, j.Source)
	}
	name := jobs[0].Definition.Name
	fmt.Fprintf(text, "\nTry\n  curl -X POST %s/job/%s -d '{\"Args\":[\"42\"]}'\n  curl %s/jobs/%s/runs\n", l.url(), name, l.url(), name)
}
