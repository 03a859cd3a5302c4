package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sluicefaas/sluice/pkg/job"
)

// The levels of a Notice.
const (
	LevelInfo  = "info"
	LevelWarn  = "warn"
	LevelError = "error"
)

// Notice is something to tell about a manifest: what was passed over, what has no effect here, what is wrong.
type Notice struct {
	// Level is LevelInfo, LevelWarn, or LevelError for what was refused.
	Level string
	// File and Line are the place; Line counts from 1 and is 0 where the whole file is meant.
	File string
	Line int
	// Key is the field or annotation, with its path where it is a field; empty where the whole document is meant.
	Key string
	// Text says what is wrong and what would be right.
	Text string
}

// String is the notice in one line that starts as a compiler's message does.
func (n Notice) String() string {
	place := n.File
	if n.Line > 0 {
		place = fmt.Sprintf("%s:%d", n.File, n.Line)
	}
	if n.Key == "" {
		return place + ": " + n.Text
	}
	return place + ": " + n.Key + ": " + n.Text
}

// maxManifestSize is the largest manifest file, in bytes.
const maxManifestSize = 4 << 20

// Contents are what manifests describe.
type Contents struct {
	Workloads []Workload
	Jobs      []Job
	// Refused are definitions of jobs that are not used, with why, but those of which an earlier version is.
	Refused []job.Definition
}

// LoadManifests reads the functions and jobs of the given YAML files and folders of them. A folder stands for its own *.yaml and
// *.yml files in the order of their names. What is wrong in one document is refused with a notice and stops no
// other one; a path that does not exist is an error.
func LoadManifests(paths []string) (Contents, []Notice, error) {
	return NewManifests(paths, nil).Read()
}

func readManifest(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("a manifest is a regular file that can be read"), err)
	}
	opened, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the manifest: %w", err)
	}
	defer func() { _ = opened.Close() }() // It was only read.
	content, err := io.ReadAll(io.LimitReader(opened, maxManifestSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if len(content) > maxManifestSize {
		return nil, fmt.Errorf("the file is larger than %d MiB: split it", maxManifestSize>>20)
	}
	return content, nil
}

// manifestFile reads one manifest file.
type manifestFile struct {
	*loader
	path, folder string
}

func (f *manifestFile) notice(level string, line int, key, text string) {
	f.notices = append(f.notices, Notice{Level: level, File: f.path, Line: line, Key: key, Text: text})
}

// read takes the documents of the file one by one, so that a wrong one stops no other.
func (f *manifestFile) read(content []byte) {
	var used yamlBudget
	for _, part := range splitDocuments(content) {
		documents, err := parseYAML(part, &used)
		for _, document := range documents {
			before := len(f.notices)
			f.document(document)
			f.noteRefused(nameOf(document), before)
			f.noteRefusedJob(document, before)
		}
		var wrong *yamlError
		if errors.As(err, &wrong) {
			before := len(f.notices)
			f.notice(LevelError, wrong.line, "", wrong.text)
			f.noteRefused("", before)
		}
	}
}

// nameOf is the name in a document; that of a CronJob is none of a workload.
func nameOf(document *yamlValue) string {
	name := document.text("metadata", "name")
	if name != "" && document.text("kind") == kindCronJob {
		return cronJobNamed(name)
	}
	return name
}

func cronJobNamed(name string) string { return kindCronJob + "/" + name }

// noteRefused remembers of which workload or CronJob a document was refused, by the first error since before; without a name it may
// be any that the file had.
func (f *manifestFile) noteRefused(name string, before int) {
	for _, notice := range f.notices[before:] {
		switch {
		case notice.Level != LevelError:
		case name == "":
			f.broken[f.path] = notice.String()
			return
		default:
			f.refused[name] = notice.String()
			return
		}
	}
}

func (f *manifestFile) document(root *yamlValue) {
	if root.kind != mapping {
		f.notice(LevelError, root.line, "", "the document is no mapping: a manifest starts with apiVersion and kind")
		return
	}
	kind, name := root.text("kind"), root.text("metadata", "name")
	switch {
	case kind == "":
		f.notice(LevelError, root.line, "kind", "is missing: a manifest has apiVersion and kind")
	case kind == "Service" && f.service(root):
	case decoders[kind] == nil:
		f.notice(LevelInfo, root.line, "", strings.TrimSuffix(kind+"/"+name, "/")+" is passed over: only Deployments, StatefulSets and CronJobs are read")
	case root.text("apiVersion") != apiVersions[kind]:
		f.notice(LevelError, root.lineOf("apiVersion"), "apiVersion", fmt.Sprintf("%q is not read for a %s: it must be %s", root.text("apiVersion"), kind, apiVersions[kind]))
	case kind == kindCronJob:
		f.job(root)
	default:
		f.workload(root, kind)
	}
}
