package local

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mattn/go-shellwords"

	"github.com/sluicefaas/sluice/pkg/function"
)

// readAddress takes sluice/LocalURL.
func (m *manifest) readAddress(w *Workload) bool {
	key, text, found := m.lookup(function.KeyLocalURL)
	if !found {
		return true
	}
	address, err := parseLocalURL(text)
	if err != nil {
		m.annotated(LevelError, key, err.Error())
		return false
	}
	w.URL = address
	return true
}

// parseLocalURL returns host:port of http://host:port or host:port.
func parseLocalURL(text string) (string, error) {
	wrong := fmt.Errorf("%q is no address of a running function: it must be http://host:port or host:port, without a path and without TLS", shorten(text))
	address := strings.TrimSuffix(text, "/")
	if scheme, rest, found := strings.Cut(address, "://"); found {
		if !strings.EqualFold(scheme, "http") {
			return "", wrong
		}
		address = rest
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsAny(host, "/?#@% \t\r\n\\\x00") {
		return "", wrong
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return "", wrong
	}
	return address, nil
}

// readCommand takes sluice/LocalCommand, else the command and args of the first container, and the environment.
func (m *manifest) readCommand(w *Workload) bool {
	environment := m.readEnv()
	key, text, found := m.lookup(function.KeyLocalCommand)
	switch container := m.container(); {
	case found:
		words, err := splitCommand(text)
		if err != nil {
			m.annotated(LevelError, key, err.Error())
			return false
		}
		w.Command = words
	case container != nil && len(container.Command) > 0 && container.Command[0] != "":
		for _, word := range slices.Concat(container.Command, container.Args) {
			w.Command = append(w.Command, expandReferences(word, environment.commandLookup))
		}
	case w.Watched:
		text := fmt.Sprintf("%s is no function, but one depends on it, and without a command it is never ready here: add the annotation "+
			"sluice/LocalCommand, or sluice/LocalURL if it runs elsewhere", w.Function.Name)
		m.notice(LevelWarn, m.root.line, "", text)
		w.Problems = append(w.Problems, text)
		return true
	default:
		m.notice(LevelError, m.root.line, "", fmt.Sprintf("function %s has no command for local mode: add the annotation sluice/LocalCommand", w.Function.Name))
		return false
	}
	w.Command[0] = fromFolder(w.Command[0], w.Dir)
	w.Env = environment.entries
	return m.fitsProcess(w, environment)
}

// fitsProcess refuses what no process can be given.
func (m *manifest) fitsProcess(w *Workload, e *containerEnv) bool {
	err := e.fits(w.Command)
	if err != nil {
		m.notice(LevelError, m.root.line, "", "function "+w.Function.Name+" has "+err.Error())
	}
	return err == nil
}

// fromFolder makes a command with a slash relative to the folder of its manifest. One without is looked up in PATH
// when it is started.
func fromFolder(command, folder string) string {
	if filepath.IsAbs(command) || !strings.Contains(command, "/") {
		return command
	}
	return filepath.Join(folder, command)
}

var (
	errNoWords  = errors.New("the command is empty: write a program and its arguments")
	errNoShell  = errors.New("the command needs a shell (an operator such as | ; & < > or a parenthesis or ` is outside quotes), and none runs it: quote the word, or write a script and name it here")
	errBadWords = errors.New("the command has a quote or a backslash that is not closed")
)

// splitCommand splits words as a shell does, but expands nothing and runs nothing.
func splitCommand(text string) ([]string, error) {
	if needsShell(text) {
		return nil, errNoShell
	}
	parser := shellwords.NewParser()
	parser.ParseEnv, parser.ParseBacktick = false, false
	words, err := parser.Parse(text)
	switch {
	case err != nil:
		return nil, errBadWords
	case len(words) == 0 || words[0] == "":
		return nil, errNoWords
	}
	return words, nil
}

// needsShell says whether there is an operator outside quotes, or a backtick that is not in single quotes. The
// library stops in silence at the first ones and takes the last ones as quotes.
func needsShell(text string) bool {
	var quote rune
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case r == '`' && quote != '\'':
			return true
		case quote != 0:
		case r == '\'' || r == '"':
			quote = r
		case strings.ContainsRune("|;&<>()", r):
			return true
		}
	}
	return false
}
