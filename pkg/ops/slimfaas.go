package ops

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// SlimFaasVariable is a setting of SlimFaas that its users have in the environment of theirs.
type SlimFaasVariable struct {
	// Names are the spellings, the strongest first. A name with "__" is found in any case, as .NET does it, and stands for a list where it
	// ends in "__0". One that ends in "*" stands for all with that beginning.
	Names []string
	// Flag is the one that the value is for, without dashes; empty where Sluice has no such setting.
	Flag string
	// Instead is a sentence: what is there instead, or why the setting is needless. Where there is a Flag, it is about the conversion.
	Instead string

	convert convert
	// common says that other programs have the variable as well, so that nothing is said where it has no effect.
	common bool
	// theirs reports whether a value is not SlimFaas's own.
	theirs func(value string) bool
}

// setting is one variable that is set.
type setting struct{ name, value string }

// environment is what the process was given.
type environment []setting

func readEnvironment() environment {
	var all environment
	for _, entry := range os.Environ() {
		if name, value, found := strings.Cut(entry, "="); found && value != "" {
			all = append(all, setting{name, value})
		}
	}
	slices.SortFunc(all, func(a, b setting) int { return strings.Compare(a.name, b.name) })
	return all
}

// find returns the strongest spelling of the variable that is set.
func (e environment) find(v SlimFaasVariable) (setting, bool) {
	for _, name := range v.Names {
		if found, ok := e.named(name); ok && (v.theirs == nil || !v.theirs(found.value)) {
			return found, true
		}
	}
	return setting{}, false
}

func (e environment) named(name string) (setting, bool) {
	if list, isList := strings.CutSuffix(name, "__0"); isList {
		return e.list(list)
	}
	if beginning, open := strings.CutSuffix(name, "*"); open {
		return e.first(func(set string) bool {
			return len(set) > len(beginning) && strings.EqualFold(set[:len(beginning)], beginning) && !hasRow(set)
		})
	}
	return e.first(func(set string) bool { return sameName(set, name) })
}

func (e environment) first(fits func(name string) bool) (setting, bool) {
	for _, s := range e {
		if fits(s.name) {
			return s, true
		}
	}
	return setting{}, false
}

// list puts the items of a list together, with commas.
func (e environment) list(name string) (setting, bool) {
	var items []string
	for {
		number := "__" + strconv.Itoa(len(items))
		item, found := e.first(func(set string) bool { return sameName(set, name+number) })
		if !found {
			return setting{name + "__0", strings.Join(items, ",")}, len(items) > 0
		}
		items = append(items, item.value)
	}
}

// sameName compares a variable's name with one of the table.
func sameName(set, name string) bool {
	return set == name || strings.Contains(name, "__") && strings.EqualFold(set, name)
}

// hasRow reports whether the table has the name itself, and not only its beginning.
func hasRow(set string) bool {
	return slices.ContainsFunc(SlimFaasVariables(), func(v SlimFaasVariable) bool {
		return slices.ContainsFunc(v.Names, func(name string) bool { return sameName(set, name) })
	})
}

// resolver gives flags the values that SlimFaas's variables have for them.
type resolver struct {
	environment environment
	// from has the variable that a flag's value came from.
	from map[string]string
}

func newResolver() *resolver {
	return &resolver{environment: readEnvironment(), from: map[string]string{}}
}

// Validate implements kong.Resolver.
func (r *resolver) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. A variable of ours wins.
func (r *resolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, ours := range flag.Envs {
		if _, set := os.LookupEnv(ours); set {
			return nil, nil //nolint:nilnil // kong's way to say that there is none
		}
	}
	for _, v := range SlimFaasVariables() {
		found, set := r.environment.find(v)
		if v.Flag != flag.Name || !set {
			continue
		}
		value, err := v.convert(found.value)
		if err != nil {
			return nil, fmt.Errorf("%s=%q: %w", found.name, found.value, err)
		}
		r.from[flag.Name] = found.name
		return value, nil
	}
	return nil, nil //nolint:nilnil // see above
}

// name adds to an error about a flag the variable that its value came from.
func (r *resolver) name(err error) error {
	if err == nil {
		return nil
	}
	for flag, variable := range r.from {
		if rest, found := strings.CutPrefix(err.Error(), "--"+flag); found && (rest == "" || strings.ContainsRune(" :=", rune(rest[0]))) {
			return fmt.Errorf("%w, from %s", err, variable)
		}
	}
	return err
}

// SlimFaasNotices returns a sentence for each of SlimFaas's variables that is set and has no effect on this program, whose flags
// are those of parsed: what there is instead, or why it is needless.
func SlimFaasNotices(parsed *kong.Context) []string {
	return slimFaasNotices(parsed, readEnvironment())
}

func slimFaasNotices(parsed *kong.Context, set environment) []string {
	var notices []string
	has := map[string]bool{}
	for _, flag := range parsed.Flags() {
		has[flag.Name] = true
	}
	given := map[string]bool{}
	for _, element := range parsed.Path {
		if element.Flag != nil && !element.Resolved {
			given[element.Flag.Name] = true
		}
	}
	for _, v := range SlimFaasVariables() {
		found, isSet := set.find(v)
		switch {
		case isSet && given[v.Flag]:
			notices = append(notices, fmt.Sprintf("the variable %s of SlimFaas has no effect: --%s is given", found.name, v.Flag))
		case !isSet || v.common || has[v.Flag]:
		case v.Flag == "":
			notices = append(notices, fmt.Sprintf("the variable %s of SlimFaas has no effect: %s", found.name, v.Instead))
		default:
			notices = append(notices, fmt.Sprintf("the variable %s of SlimFaas has no effect on this program: it is for those that have the flag --%s", found.name, v.Flag))
		}
	}
	return notices
}
