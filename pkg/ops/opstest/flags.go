// Package opstest holds what is written about the daemons against what they are: the reference of their flags.
package opstest

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/sluicefaas/sluice/pkg/ops"
)

var update = flag.Bool("update-flags", false, "write docs/flags.md instead of comparing it")

// document has the reference, seen from the package of a command.
const document = "../../../../docs/flags.md"

// HoldFlags fails the test of a command unless the part of docs/flags.md about the program has a row for each of its flags, as the struct cli
// and the options of ops.Parse define them. With -update-flags it writes that part.
func HoldFlags(t *testing.T, program string, cli any, options ...kong.Option) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	model, err := ops.Model(cli, append(options, kong.Name(program))...)
	if err != nil {
		t.Fatal(err)
	}
	want := table(model)
	before, rest, found := strings.Cut(string(text), "\n## "+program+"\n")
	got, after, more := strings.Cut(rest, "\n## ")
	if more {
		after = "\n## " + after
	}
	if found && got == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the flags of %s are: go test ./services/... -run FlagsAreDocumented -update-flags writes it\n%s", document, program, want)
	}
	if err := os.WriteFile(document, []byte(before+"\n## "+program+"\n"+want+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// table has a row for each flag, those of the program first, then those of its commands.
func table(model *kong.Application) string {
	var text strings.Builder
	rows(&text, "", model.Node)
	return text.String()
}

func rows(text *strings.Builder, command string, node *kong.Node) {
	var flags []*kong.Flag
	for _, f := range node.Flags {
		if !f.Hidden && f.Name != "help" {
			flags = append(flags, f)
		}
	}
	if command != "" {
		fmt.Fprintf(text, "\n`%s`: %s\n", command, node.Help)
	}
	if len(flags) > 0 {
		text.WriteString("\n| flag | variable | default | meaning |\n|---|---|---|---|\n")
	}
	for _, f := range flags {
		fmt.Fprintf(text, "| `--%s` | %s | %s | %s |\n", f.Name, code(strings.Join(f.Envs, "`, `")), code(f.Default), strings.ReplaceAll(f.Help, "|", "\\|"))
	}
	for _, child := range node.Children {
		if !child.Hidden {
			rows(text, strings.TrimSpace(command+" "+child.Name), child)
		}
	}
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
