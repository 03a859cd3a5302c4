package job

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Prefixes of the annotations, the stronger one first.
const (
	prefix         = "sluice/"
	prefixSlimFaas = "SlimFaas/"
)

// The annotations of a CronJob, without their prefix. KeyLocalCommand is read by the local mode.
const (
	keyJob             = "Job"
	keyVisibility      = "DefaultVisibility"
	keyParallel        = "NumberParallelJob"
	keyDependsOn       = "DependsOn"
	keyImages          = "JobImagesWhitelist"
	keySchedules       = "Schedules"
	keyJobPolicy       = "JobPolicy"
	keyForLocalCommand = "LocalCommand"
)

func knownKeys() []string {
	return []string{keyJob, keyVisibility, keyParallel, keyDependsOn, keyImages, keySchedules, keyJobPolicy, keyForLocalCommand}
}

// lookup finds the strongest spelling of an annotation.
func (r *cronReader) lookup(name string) (written, value string, found bool) {
	for _, prefix := range []string{prefix, prefixSlimFaas} {
		if value, found := r.annotations[prefix+name]; found {
			return prefix + name, strings.TrimSpace(value), true
		}
	}
	return "", "", false
}

func (r *cronReader) report(written, value, text string) {
	r.problems = append(r.problems, annotationProblem(written, value, text))
}

func annotationProblem(written, value, text string) string {
	return fmt.Sprintf("annotation %s: %s %s", written, quote(value), text)
}

// kept is the definition whose values hold where the annotations have none that is valid.
func (r *cronReader) kept() Definition {
	if r.last != nil {
		return *r.last
	}
	return defaults(r.policy.definition.Name, "")
}

// holds ends the sentence about a value that is wrong. It does not depend on what held before, so that what stays wrong has the same sentence each time it is read.
const holds = "; the last valid value holds, or the default"

func (r *cronReader) readAnnotations() {
	d, kept := &r.policy.definition, r.kept()
	if written, value, found := r.lookup(keyVisibility); found {
		switch {
		case strings.EqualFold(value, string(Public)):
			d.Visibility = Public
		case !strings.EqualFold(value, string(Private)):
			d.Visibility = kept.Visibility
			r.report(written, value, `is neither "Public" nor "Private"`+holds)
		}
	}
	if written, value, found := r.lookup(keyParallel); found {
		parallel, err := strconv.Atoi(value)
		if err != nil || parallel < 1 || parallel > maxParallel {
			parallel = kept.Parallel
			r.report(written, value, fmt.Sprintf("is not a whole number from 1 to %d", maxParallel)+holds)
		}
		d.Parallel = parallel
	}
	d.DependsOn = r.readList(keyDependsOn, kept.DependsOn, checkDependency)
	d.Overrides.Images = r.readList(keyImages, kept.Overrides.Images, checkImagePattern)
	if written, value, found := r.lookup(keySchedules); found {
		r.report(written, value, "is ignored: schedules come later")
	}
}

// readList reads entries with commas between them, or a JSON array of texts. If one is wrong, the last list holds, or where there is none, the others.
func (r *cronReader) readList(name string, kept []string, check func(string) error) (list []string) {
	written, value, found := r.lookup(name)
	if !found {
		return nil
	}
	entries, ok := splitList(value)
	if !ok {
		r.report(written, value, fmt.Sprintf("is neither a list with commas nor a JSON array of texts, of at most %d", maxPatterns)+holds)
		return kept
	}
	right := true
	for _, entry := range entries {
		if err := check(entry); err != nil {
			right = false
			r.report(written, entry, err.Error()+"; the last valid list holds, or the others do")
			continue
		}
		if !slices.Contains(list, entry) {
			list = append(list, entry)
		}
	}
	if !right && len(kept) > 0 {
		return kept
	}
	return list
}

func splitList(text string) (entries []string, ok bool) {
	pieces := strings.Split(text, ",")
	if strings.HasPrefix(text, "[") {
		pieces = nil
		var items []*string
		if err := json.Unmarshal([]byte(text), &items); err != nil || slices.Contains(items, nil) {
			return nil, false
		}
		for _, item := range items {
			pieces = append(pieces, *item)
		}
	}
	for _, piece := range pieces {
		if piece = strings.TrimSpace(piece); piece != "" {
			entries = append(entries, piece)
		}
	}
	return entries, len(entries) <= maxPatterns
}

// reportUnknown names the annotations with our prefixes that nobody knows. On a CronJob that is no job, they hint at a mistyped Job.
func (r *cronReader) reportUnknown() {
	for _, written := range slices.Sorted(maps.Keys(r.annotations)) {
		name, ours := strings.CutPrefix(written, prefix)
		if !ours {
			name, ours = strings.CutPrefix(written, prefixSlimFaas)
		}
		if ours && !slices.Contains(knownKeys(), name) {
			r.report(written, r.annotations[written], "is ignored: the key is unknown, known are "+strings.Join(knownKeys(), ", "))
		}
	}
}
