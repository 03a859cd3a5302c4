package function

import (
	"slices"
	"strings"
)

// Prefixes of the annotations, the stronger one first.
const (
	Prefix         = "sluice/"
	PrefixSlimFaas = "SlimFaas/"
)

// The annotations that are read, without their prefix.
const (
	KeyFunction                    = "Function"
	KeyReplicasMin                 = "ReplicasMin"
	KeyReplicasAtStart             = "ReplicasAtStart"
	KeyTimeout                     = "TimeoutSecondBeforeSetReplicasMin"
	KeyNumberParallelRequest       = "NumberParallelRequest"
	KeyNumberParallelRequestPerPod = "NumberParallelRequestPerPod"
	KeyDependsOn                   = "DependsOn"
	KeyWakeWithAny                 = "ReplicasStartAsSoonAsOneFunctionRetrieveARequest"
	KeySchedule                    = "Schedule"
	KeyScale                       = "Scale"
	KeyDefaultVisibility           = "DefaultVisibility"
	KeyPathVisibility              = "PathsStartWithVisibility"
	KeyDefaultTrust                = "DefaultTrust"
	KeySubscribeEvents             = "SubscribeEvents"
	KeyConfiguration               = "Configuration"
	KeyProtocol                    = "Protocol"

	// keyDefaultTrusted is how SlimFaas's documents spell DefaultTrust.
	keyDefaultTrusted = "DefaultTrusted"

	// KeyPort is read by whoever looks for the replicas' addresses: a port by its number or name.
	KeyPort = "Port"
	// KeyLocalCommand and KeyLocalURL are read by the local mode.
	KeyLocalCommand = "LocalCommand"
	KeyLocalURL     = "LocalURL"
)

// keysInForce are honoured, here or by the readers named above.
var keysInForce = []string{
	KeyFunction, KeyReplicasMin, KeyReplicasAtStart, KeyTimeout, KeyNumberParallelRequest, KeyNumberParallelRequestPerPod,
	KeyDependsOn, KeyWakeWithAny, KeySchedule, KeyScale, KeyDefaultVisibility, KeyPathVisibility, KeyDefaultTrust, keyDefaultTrusted,
	KeySubscribeEvents, KeyConfiguration, KeyProtocol, KeyPort, KeyLocalCommand, KeyLocalURL,
}

// Lookup finds one annotation by its key without prefix. The order is: the workload's own with the prefix sluice/,
// the workload's own with SlimFaas/, the pod template's with sluice/, the pod template's with SlimFaas/. It returns
// the key as it is written and the value without the spaces around it.
func Lookup(key string, workload, template map[string]string) (written, value string, found bool) {
	return lookup([]string{key}, Annotations{Workload: workload, Template: template})
}

// lookup is Lookup for several spellings of a key, the stronger one first; where it is written counts more.
func lookup(keys []string, from Annotations) (written, value string, found bool) {
	for _, annotations := range []map[string]string{from.Workload, from.Template} {
		for _, prefix := range []string{Prefix, PrefixSlimFaas} {
			for _, key := range keys {
				if value, found := annotations[prefix+key]; found {
					return prefix + key, strings.TrimSpace(value), true
				}
			}
		}
	}
	return "", "", false
}

// keyProblems reports the annotations with our prefixes that nobody knows, sorted by key. On a workload that is no function, they
// hint at a mistyped Function.
func keyProblems(annotations Annotations) []Problem {
	var problems []Problem
	for _, written := range ourKeys(annotations.Workload, annotations.Template) {
		prefix, key := cutPrefix(written)
		value, found := annotations.Workload[written]
		if !found {
			value = annotations.Template[written]
		}
		if !slices.Contains(keysInForce, key) {
			problems = append(problems, Problem{Key: written, Value: value, Want: unknownKey(prefix, key)})
		}
	}
	return problems
}

func unknownKey(prefix, key string) string {
	want := "is ignored: the key is unknown"
	if near := Nearest(key, keysInForce); near != "" {
		want += ", did you mean " + prefix + near + "?"
	}
	return want
}

func ourKeys(workload, template map[string]string) []string {
	var keys []string
	for _, annotations := range []map[string]string{workload, template} {
		for key := range annotations {
			if prefix, _ := cutPrefix(key); prefix != "" {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func cutPrefix(written string) (prefix, key string) {
	for _, prefix := range []string{Prefix, PrefixSlimFaas} {
		if key, found := strings.CutPrefix(written, prefix); found {
			return prefix, key
		}
	}
	return "", written
}

// maxKeyLength bounds the work for a word that nobody knows: an annotation's name has at most 63 characters.
const maxKeyLength = 63

// Nearest returns the known word that is at most a third of its length of single-letter edits away from word, in any
// case, or "" if there is none: for the question "did you mean …?".
func Nearest(word string, known []string) string {
	if len(word) > maxKeyLength {
		return ""
	}
	nearest, least := "", maxKeyLength
	for _, candidate := range known {
		distance := editDistance(strings.ToLower(word), strings.ToLower(candidate))
		if distance < least && distance <= len(candidate)/3 {
			nearest, least = candidate, distance
		}
	}
	return nearest
}

// editDistance is Levenshtein's distance in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
