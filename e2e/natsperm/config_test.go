package natsperm

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// What the server makes of the configuration, one server.
func TestConfigurationOfOneServer(t *testing.T) {
	setPasswords(t)
	config := renderConfig(t, "nats.replicas=1")
	o := parse(t, config, "sluice-nats-0")
	for what, right := range map[string]bool{
		"the pod's name":                o.ServerName == "sluice-nats-0",
		"the client port":               o.Port == 4222 && o.Host == "0.0.0.0",
		"the monitoring port":           o.HTTPPort == 8222,
		"no cluster":                    len(o.Routes) == 0 && o.Cluster.Port == 0,
		"JetStream in the volume":       o.JetStream && o.StoreDir == "/data/jetstream",
		"a limit of the store":          o.JetStreamMaxStore == 8<<30,
		"each acknowledged call synced": o.SyncAlways,
		"the largest message":           o.MaxPayload == 8<<20,
		"a limit of connections":        o.MaxConn == 10_000,
		"slow readers are dropped":      o.WriteDeadline == 10*time.Second && o.MaxPending == 64<<20,
		"a lame duck within a minute":   o.LameDuckDuration+o.LameDuckGracePeriod == 35*time.Second,
		"no user without a password":    o.NoAuthUser == "",
		"its own system account":        o.SystemAccount == "SYSTEM",
	} {
		if !right {
			t.Errorf("nats.conf has not %s:\n%s", what, config)
		}
	}
}

// Values change what they should, and no secret is in the ConfigMap.
func TestConfigurationFollowsTheValues(t *testing.T) {
	setPasswords(t)
	config := renderConfig(t, "nats.replicas=1", "nats.maxPayload=2Mi", "nats.maxFileStore=3Gi", "prefix=acme")
	o := parse(t, config, "p")
	if o.MaxPayload != 2<<20 || o.JetStreamMaxStore != 3<<30 {
		t.Errorf("max_payload %d, max_file_store %d", o.MaxPayload, o.JetStreamMaxStore)
	}
	if strings.Contains(config, "sluice.") || strings.Contains(config, "sluice-") {
		t.Errorf("the prefix acme is not everywhere:\n%s", config)
	}
	for line := range strings.Lines(config) {
		if strings.Contains(line, "password:") && !strings.Contains(line, "password: $SLUICE_") {
			t.Errorf("a password is in the configuration: %s", line)
		}
	}
}

// Everything that nats.conf has from the environment is there: passwords from a Secret, and routes to every pod, put together from them.
func TestEnvironmentHasWhatTheConfigurationNeeds(t *testing.T) {
	for _, values := range [][]string{{"nats.replicas=1"}, {"nats.replicas=3"}, {"nats.replicas=5", "fullnameOverride=queue"}} {
		environment := renderEnvironment(t, values...)
		for _, found := range regexp.MustCompile(`(?m)(?:: |^\s+)\$([A-Z][A-Z0-9_]+)`).FindAllStringSubmatch(renderConfig(t, values...), -1) {
			at := slices.IndexFunc(environment, func(v variable) bool { return v.Name == found[1] })
			if at < 0 {
				t.Errorf("%q: nats.conf needs %s, which the container does not have", values, found[1])
				continue
			}
			v := environment[at]
			if strings.HasSuffix(v.Name, "_PASSWORD") && !strings.Contains(string(v.ValueFrom), "secretKeyRef") {
				t.Errorf("%q: %s is not from a Secret", values, v.Name)
			}
		}
	}
	environment := renderEnvironment(t, "nats.replicas=5", "fullnameOverride=queue")
	password := slices.IndexFunc(environment, func(v variable) bool { return v.Name == "SLUICE_ROUTE_PASSWORD" })
	last := slices.IndexFunc(environment, func(v variable) bool { return v.Name == "SLUICE_ROUTE_4" })
	if password < 0 || last < password { // Kubernetes expands only what it has read before
		t.Fatalf("the routes' password is variable %d, the last route %d", password, last)
	}
	const want = "nats-route://route:$(SLUICE_ROUTE_PASSWORD)@queue-nats-4.queue-nats-headless.functions.svc:6222"
	if got := environment[last].Value; got != want {
		t.Errorf("the last route is %s, want %s", got, want)
	}
}
