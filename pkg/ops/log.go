package ops

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// Values of LogConfig.Format.
const (
	LogAuto    = "auto"
	LogConsole = "console"
	LogJSON    = "json"
)

// timeFormat is RFC 3339 with milliseconds: whole seconds, zerolog's default, are too coarse to follow a call.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// LogConfig says what is logged and how. Embed it in the struct of flags that Parse fills in.
type LogConfig struct {
	Level  string `name:"log-level" default:"info" enum:"trace,debug,info,warn,error" help:"Least severe level that is logged: ${enum}."`
	Format string `name:"log-format" default:"auto" enum:"auto,console,json" help:"Form of a log line: ${enum}. auto is console on a terminal, else json."`
}

// NewLogger returns a logger that writes one line per event to w, with the time in RFC 3339 to the millisecond. It
// touches no global of zerolog, so that several loggers live in one process.
func NewLogger(cfg LogConfig, w *os.File) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil || cfg.Level == "" {
		return zerolog.Nop(), fmt.Errorf("--log-level %q: must be trace, debug, info, warn or error", cfg.Level)
	}
	out, err := logWriter(cfg.Format, w)
	if err != nil {
		return zerolog.Nop(), err
	}
	return zerolog.New(out).Level(level).Hook(zerolog.HookFunc(addTime)), nil
}

func logWriter(format string, w *os.File) (io.Writer, error) {
	terminal := isatty.IsTerminal(w.Fd())
	switch {
	case format == LogJSON, format == LogAuto && !terminal:
		return w, nil
	case format == LogConsole, format == LogAuto:
		return zerolog.ConsoleWriter{Out: w, NoColor: !terminal, TimeFormat: "15:04:05.000"}, nil
	default:
		return nil, fmt.Errorf("--log-format %q: must be auto, console or json", format)
	}
}

func addTime(event *zerolog.Event, _ zerolog.Level, _ string) {
	event.Str(zerolog.TimestampFieldName, time.Now().Format(timeFormat))
}
