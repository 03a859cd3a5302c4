package local

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// The pace of probing until a process is ready for the first time: a twentieth of the time that it has taken so
// far, so that probing adds little to a quick start and costs little in a slow one.
const (
	shortestProbePause = 10 * time.Millisecond
	longestProbePause  = 200 * time.Millisecond
	probeShare         = 20
)

// The defaults of Kubernetes for a probe that leaves them out.
const (
	defaultProbePeriod   = 10 * time.Second
	defaultProbeFailures = 3
	defaultProbeTimeout  = time.Second
)

// maxProbeHeaders bounds the headers that a probe reads, in bytes; it reads no body.
const maxProbeHeaders = 64 << 10

// prober finds out whether one process is ready.
type prober struct {
	probe   Probe // with defaults
	address string
	client  *http.Client
}

func newProber(probe Probe, address string, client *http.Client) prober {
	if probe.Period <= 0 {
		probe.Period = defaultProbePeriod
	}
	if probe.FailureThreshold <= 0 {
		probe.FailureThreshold = defaultProbeFailures
	}
	if probe.Timeout <= 0 {
		probe.Timeout = defaultProbeTimeout
	}
	if probe.Scheme == "" {
		probe.Scheme = "http"
	}
	return prober{probe: probe, address: address, client: client}
}

// newProbeClient behaves as the kubelet does: a certificate is not checked, a redirect is an answer. A connection
// serves one probe, so that each proves that the process accepts new ones.
func newProbeClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxProbeHeaders,
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, // #nosec G402 -- see above
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// run reports the first time that the process is ready, then every change, until ctx ends.
func (p prober) run(ctx context.Context, report func(ready bool)) {
	if !p.untilReady(ctx) {
		return
	}
	report(true)
	p.follow(ctx, report)
}

// untilReady is false when ctx ended first.
func (p prober) untilReady(ctx context.Context) bool {
	start := time.Now()
	for pause(ctx, 0) {
		if p.check(ctx) == nil {
			return true
		}
		if !pause(ctx, probePause(time.Since(start))) {
			return false
		}
	}
	return false
}

func probePause(elapsed time.Duration) time.Duration {
	return min(max(elapsed/probeShare, shortestProbePause), longestProbePause)
}

// follow probes once a period. As many failures in a row as the threshold mean unready; one success means ready.
func (p prober) follow(ctx context.Context, report func(ready bool)) {
	ready, failures := true, 0
	for pause(ctx, p.probe.Period) {
		if p.check(ctx) != nil {
			failures++
		} else {
			failures = 0
		}
		if now := failures < p.probe.FailureThreshold && (ready || failures == 0); now != ready {
			ready = now
			report(ready)
		}
	}
}

// check probes once.
func (p prober) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.probe.Timeout)
	defer cancel()
	if p.probe.Path == "" {
		return p.connect(ctx)
	}
	return p.get(ctx)
}

func (p prober) connect(ctx context.Context) error {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", p.address, err)
	}
	return connection.Close()
}

// get is satisfied by any status from 200 to 399, as in Kubernetes.
func (p prober) get(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(), http.NoBody)
	if err != nil {
		return fmt.Errorf("make the probe's request: %w", err)
	}
	request.Header.Set("User-Agent", "sluice-probe")
	answer, err := p.client.Do(request)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode < http.StatusOK || answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("probe %s: status %d", p.url(), answer.StatusCode)
	}
	return nil
}

func (p prober) url() string {
	path := p.probe.Path
	if path[0] != '/' {
		path = "/" + path
	}
	return strings.ToLower(p.probe.Scheme) + "://" + p.address + path
}

// pause waits and is false when ctx has ended.
func pause(ctx context.Context, wait time.Duration) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
