package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicefaas/sluice/pkg/function"
)

// mockSource is where mock functions are written.
const mockSource = "--mock-functions"

// mockURL is where SlimFaas calls a function of MOCK_KUBERNETES_FUNCTIONS unless BASE_FUNCTION_URL says otherwise.
const mockURL = "http://{function_name}:8080"

// MockFunctions are functions that run already and are not scaled, in the JSON of SlimFaas's MOCK_KUBERNETES_FUNCTIONS:
// {"Functions":[{"Name":"fibonacci","NumberParallelRequest":1}]}. Beside its name, a function has the annotations of a manifest, by
// their keys without prefix, in any case.
type MockFunctions struct {
	functions []mockFunction
	unknown   []string
}

type mockFunction struct {
	name        string
	annotations map[string]string
}

// annotationKeys are those of a function, for whoever writes them in another case.
var annotationKeys = []string{
	function.KeyReplicasMin, function.KeyReplicasAtStart, function.KeyTimeout, function.KeyNumberParallelRequest,
	function.KeyNumberParallelRequestPerPod, function.KeyDependsOn, function.KeyWakeWithAny, function.KeySchedule, function.KeyScale,
	function.KeyDefaultVisibility, function.KeyPathVisibility, function.KeyDefaultTrust, function.KeySubscribeEvents,
	function.KeyConfiguration, function.KeyProtocol, function.KeyPort, function.KeyLocalURL,
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MockFunctions) UnmarshalText(text []byte) error {
	*m = MockFunctions{}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(text, &document); err != nil {
		return fmt.Errorf(`%s is no JSON such as {"Functions":[{"Name":"fibonacci"}]}: %w`, shorten(string(text)), err)
	}
	for _, key := range slices.Sorted(maps.Keys(document)) {
		switch {
		case strings.EqualFold(key, "Functions"):
			if err := m.readFunctions(document[key]); err != nil {
				return err
			}
		case strings.EqualFold(key, "Slimfaas"): // the nodes of SlimFaas itself
		default:
			m.unknown = append(m.unknown, key)
		}
	}
	return nil
}

func (m *MockFunctions) readFunctions(text json.RawMessage) error {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("Functions must be a list of objects: %w", err) //nolint:staticcheck // it begins with the key
	}
	for i, fields := range list {
		f, err := readMock(fields)
		if err != nil {
			return fmt.Errorf("Functions[%d]: %w", i, err) //nolint:staticcheck // see above
		}
		m.functions = append(m.functions, f)
	}
	return nil
}

func readMock(fields map[string]json.RawMessage) (mockFunction, error) {
	f := mockFunction{annotations: map[string]string{function.Prefix + function.KeyFunction: "true"}}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if strings.EqualFold(key, "Name") {
			if err := json.Unmarshal(fields[key], &f.name); err != nil || f.name == "" {
				return f, fmt.Errorf("Name is %s: it must be a string", fields[key]) //nolint:staticcheck // see above
			}
			continue
		}
		f.annotations[function.Prefix+annotationKey(key)] = annotationText(fields[key])
	}
	if f.name == "" {
		return f, errors.New("Name is missing") //nolint:staticcheck // see above
	}
	return f, nil
}

// annotationKey is the key as annotations are written. One that nobody knows stays as it is, and the parser of annotations says so.
func annotationKey(key string) string {
	for _, known := range annotationKeys {
		if strings.EqualFold(key, known) {
			return known
		}
	}
	return key
}

// annotationText is a value as an annotation has it: a string without its quotes, everything else as JSON.
func annotationText(value json.RawMessage) string {
	var text string
	if err := json.Unmarshal(value, &text); err == nil && !bytes.Equal(value, []byte("null")) {
		return text
	}
	return string(value)
}

// workloads are the functions as manifests would have them, each at the address that the template says.
func (m MockFunctions) workloads(template, namespace string) ([]Workload, []Notice, error) {
	var workloads []Workload
	var notices []Notice
	for _, key := range m.unknown {
		notices = append(notices, Notice{Level: LevelWarn, File: mockSource, Key: key, Text: "is ignored: it is neither Functions nor Slimfaas"})
	}
	seen := map[string]bool{}
	for _, f := range m.functions {
		w, problems, err := f.workload(template, namespace)
		if err == nil && seen[f.name] {
			err = errors.New("is there twice")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: function %q %w", mockSource, f.name, err)
		}
		seen[f.name] = true
		for _, problem := range problems {
			notices = append(notices, Notice{Level: LevelWarn, File: mockSource, Key: f.name, Text: problem.String()})
			w.Problems = append(w.Problems, problem.String())
		}
		workloads = append(workloads, w)
	}
	return workloads, notices, nil
}

func (f mockFunction) workload(template, namespace string) (Workload, []function.Problem, error) {
	parsed, isFunction, problems := function.FromAnnotations(f.name, function.KindDeployment, function.Annotations{Workload: f.annotations}, nil)
	if !isFunction {
		text := "is no function"
		if len(problems) > 0 {
			text = problems[0].Want
		}
		return Workload{}, nil, errors.New(text)
	}
	w := Workload{Function: parsed, Source: mockSource}
	var problem *function.Problem
	if w.Port, problem = function.PortFromAnnotations(f.annotations, nil).Among(nil); problem != nil {
		problems = append(problems, *problem)
	}
	address, err := f.address(template, namespace, w.Port)
	if err != nil {
		return w, nil, err
	}
	w.URL = address
	return w, problems, nil
}

// address is host:port of the function: that of LocalURL, else the template filled in.
func (f mockFunction) address(template, namespace string, port int) (string, error) {
	if _, own, found := function.Lookup(function.KeyLocalURL, f.annotations, nil); found {
		return parseLocalURL(own)
	}
	if template == "" {
		template = mockURL
	}
	switch {
	case strings.Contains(template, "{pod_ip}"):
		return "", fmt.Errorf("has no pod for {pod_ip} in --base-function-url %q: write a host, such as %s", template, mockURL)
	case strings.Contains(template, "{pod_port}") && port == 0:
		return "", fmt.Errorf("has no number for {pod_port} in --base-function-url %q: write a port, or give it a Port", template)
	}
	fill := strings.NewReplacer("{function_name}", f.name, "{namespace}", namespace, "{pod_port}", strconv.Itoa(port))
	return parseLocalURL(fill.Replace(template))
}
