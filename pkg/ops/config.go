package ops

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// EnvPrefix starts the name of every environment variable of ours: the flag --drain-delay is SLUICE_DRAIN_DELAY.
const EnvPrefix = "SLUICE"

// Parse fills in cli, a pointer to a struct with kong tags, from args (without the program's name) and from the
// environment; a flag wins over its variable, which wins over that of SlimFaas for the same (SlimFaasVariables), which wins over
// the default. The error names the flag, its value, where that came from and what would be right. --help prints the usage and
// ends the process; the variable version is what a kong.VersionFlag prints.
func Parse(cli any, args []string, options ...kong.Option) (*kong.Context, error) {
	slimFaas := newResolver()
	parser, err := newParser(cli, append(options, kong.Resolvers(slimFaas))...)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(args)
	return parsed, slimFaas.name(nameVariable(err))
}

// nameVariable adds the environment variable that a refused value came from, where kong names the flag alone: it
// does so for values that are not among the allowed ones.
func nameVariable(err error) error {
	var refused *kong.ParseError
	if !errors.As(err, &refused) {
		return err
	}
	for _, flag := range refused.Context.Flags() {
		for _, variable := range flag.Envs {
			value, set := os.LookupEnv(variable)
			if set && strings.HasPrefix(err.Error(), fmt.Sprintf("--%s must be", flag.Name)) && strings.HasSuffix(err.Error(), strconv.Quote(value)) {
				return fmt.Errorf("%w, from %s", err, variable)
			}
		}
	}
	return err
}
