package ops

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// Model is what Parse would read into cli: its flags with their variables and defaults.
func Model(cli any, options ...kong.Option) (*kong.Application, error) {
	parser, err := newParser(cli, options...)
	if err != nil {
		return nil, err
	}
	return parser.Model, nil
}

func newParser(cli any, options ...kong.Option) (*kong.Kong, error) {
	standard := []kong.Option{kong.DefaultEnvars(EnvPrefix), kong.Vars{"version": ReadBuild().String()}}
	parser, err := kong.New(cli, append(standard, options...)...)
	if err != nil {
		return nil, fmt.Errorf("read the definition of the flags: %w", err)
	}
	return parser, nil
}
