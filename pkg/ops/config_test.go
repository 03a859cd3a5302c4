package ops_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/ops"
)

type flags struct {
	ops.LogConfig
	DrainDelay time.Duration `default:"5s"`
	Replicas   int           `default:"1"`
}

func TestParseTakesFlagThenEnvironmentThenDefault(t *testing.T) {
	var cli flags
	if _, err := ops.Parse(&cli, nil); err != nil {
		t.Fatal(err)
	}
	if cli.DrainDelay != 5*time.Second || cli.Level != "info" || cli.Format != "auto" {
		t.Errorf("defaults: %+v", cli)
	}
	t.Setenv("SLUICE_DRAIN_DELAY", "7s")
	t.Setenv("SLUICE_LOG_LEVEL", "debug")
	if _, err := ops.Parse(&cli, []string{"--log-level=warn"}); err != nil {
		t.Fatal(err)
	}
	if cli.DrainDelay != 7*time.Second || cli.Level != "warn" {
		t.Errorf("with environment and flag: %+v", cli)
	}
}

func TestParseErrorsNameFlagValueAndWhatIsRight(t *testing.T) {
	tests := []struct {
		name string
		env  [2]string
		args []string
		want []string
	}{
		{name: "duration", args: []string{"--drain-delay=soon"}, want: []string{"--drain-delay", `"soon"`, "duration"}},
		{name: "number", args: []string{"--replicas=x"}, want: []string{"--replicas", `"x"`, "int"}},
		{name: "enum", args: []string{"--log-level=loud"}, want: []string{"--log-level", `"loud"`, "debug"}},
		{name: "unknown", args: []string{"--log-levl=info"}, want: []string{"--log-levl", "--log-level"}},
		{name: "environment", env: [2]string{"SLUICE_DRAIN_DELAY", "soon"}, want: []string{"SLUICE_DRAIN_DELAY", "soon", "duration"}},
		{name: "environment enum", env: [2]string{"SLUICE_LOG_LEVEL", "loud"}, want: []string{"SLUICE_LOG_LEVEL", "loud", "debug"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.env[0] != "" {
				t.Setenv(test.env[0], test.env[1])
			}
			_, err := ops.Parse(&flags{}, test.args)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}
