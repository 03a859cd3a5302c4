package services_test

import (
	"net"
	"regexp"
	"strings"
	"testing"
)

func TestWrongFlagsNameThemselves(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() }) // after the parallel tests below
	taken := listener.Addr().String()
	const away = "--nats=nats://127.0.0.1:1"
	tests := []struct {
		service string
		args    []string
		want    []string
	}{
		{"gateway", []string{"--listen=5000"}, []string{"--listen", `"5000"`, "host:port"}},
		{"gateway", []string{"--listen=" + taken, "--ops-listen=127.0.0.1:0", away}, []string{"--listen", taken[len("127.0.0.1:"):], "in use"}},
		{"gateway", []string{"--listen=127.0.0.1:0", "--ops-listen=" + taken, away}, []string{"--ops-listen", "in use"}},
		{"gateway", []string{"--drain-delay=soon"}, []string{"--drain-delay", "soon", "duration"}},
		{"gateway", []string{"--nats=http://127.0.0.1"}, []string{"--nats", "http://127.0.0.1", "nats://"}},
		{"gateway", []string{"--prefix=a.b"}, []string{"prefix", `"a.b"`, "letters"}},
		{"gateway", []string{"--star-wait=1s"}, []string{"--star-wait", "--start-wait"}},
		{"gateway", []string{"--nats-user=u"}, []string{"--nats-user", "--nats-password"}},
		{"dispatcher", []string{"--sole=perhaps"}, []string{"--sole", "perhaps"}},
		{"dispatcher", []string{"--log-level=loud"}, []string{"--log-level", "loud", "debug"}},
		{"dispatcher", []string{"--ops-listen=" + taken, away}, []string{"--ops-listen", "in use"}},
		{"scaler", nil, []string{"--kubeconfig"}},
		{"scaler", []string{"--kubeconfig=/no/such/file"}, []string{"--kubeconfig", "/no/such/file"}},
		{"scaler", []string{"--scale-down-timeout=long"}, []string{"--scale-down-timeout", "long", "duration"}},
		{"jobrunner", nil, []string{"--kubeconfig"}},
		{"jobrunner", []string{"--jobs-configuration={"}, []string{"--jobs-configuration"}},
		{"jobrunner", []string{"--job-history=long"}, []string{"--job-history", "long", "duration"}},
		{"scaler", []string{"credentials"}, []string{"--secret"}},
		{"scaler", []string{"credentials", "--secret=s", "--label=x"}, []string{"--label"}},
	}
	for _, test := range tests {
		t.Run(test.service+" "+strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			code, text := output(t, test.service, test.args...)
			lines := strings.Split(strings.TrimSpace(text), "\n")
			last := lines[len(lines)-1]
			if code != 1 || !strings.HasPrefix(last, "sluice-"+test.service+": ") {
				t.Errorf("exit code %d and\n%s\nwant 1, and a last line that begins with the program's name", code, text)
			}
			for _, want := range test.want {
				if !strings.Contains(last, want) {
					t.Errorf("%q does not name %q", last, want)
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"gateway", "dispatcher", "scaler", "jobrunner"} {
		if code, text := output(t, service, "--version"); code != 0 || !regexp.MustCompile(`^\S+ (\S+ )?go1\.\d+`).MatchString(text) {
			t.Errorf("%s --version: exit code %d, %q", service, code, text)
		}
	}
}
