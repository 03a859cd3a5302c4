package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// variable is one of a container's environment, in Kubernetes' form or in that of SlimFaas.
type variable struct {
	name, value string
	// from is Kubernetes' valueFrom, nil for a plain value. For one that stands for all keys of a Secret or ConfigMap, name is their prefix and source is
	// the element of Kubernetes' envFrom.
	from, source tree
}

// elsewhere reports whether the value is read from an object or field that the definition may not have meant to show.
func (v variable) elsewhere() bool { return v.from != nil || v.source != nil }

// entry is the element of the container's env.
func (v variable) entry() tree {
	if v.from != nil {
		return tree{"name": v.name, "valueFrom": v.from}
	}
	return tree{"name": v.name, "value": v.value}
}

// variables reads a list; those that are wrong are left out.
func (r *reading) variables(target *[]variable) read {
	return r.list(maxListed, func(path string, value json.RawMessage) {
		before := len(r.wrong)
		v := r.variable(path, value)
		if len(r.wrong) == before {
			*target = append(*target, v)
		}
	})
}

// selector is a reference to one key of a Secret or ConfigMap, or to a field.
type selector struct {
	kind                                string
	name, key                           string
	optional                            bool
	path, container, resource, quantity string
}

func (r *reading) variable(path string, value json.RawMessage) variable {
	var v variable
	var all []selector
	selected := func(kind string, keys func(*selector) []key) read {
		return func(path string, value json.RawMessage) {
			s := selector{kind: kind}
			r.object(keys(&s)...)(path, value)
			all = append(all, s)
		}
	}
	secret, config := selected("secretKeyRef", r.keyed), selected("configMapKeyRef", r.keyed)
	field, amount := selected("fieldRef", r.fielded), selected("resourceFieldRef", r.measured)
	r.object(
		key{name: "name", read: r.text(&v.name, nil)}, key{name: "value", read: r.text(&v.value, checkArgument)},
		key{name: "secretRef", read: secret}, key{name: "configMapRef", read: config}, key{name: "fieldRef", read: field}, key{name: "resourceFieldRef", read: amount},
		key{name: "valueFrom", read: r.object(key{name: "secretKeyRef", read: secret}, key{name: "configMapKeyRef", read: config}, key{name: "fieldRef", read: field}, key{name: "resourceFieldRef", read: amount})},
	)(path, value)
	if err := v.complete(all); err != nil {
		r.wrong = append(r.wrong, fault{join(path, "name"), quote(v.name) + " " + err.Error()})
	}
	return v
}

func (r *reading) keyed(s *selector) []key {
	return []key{
		{name: "name", read: r.text(&s.name, checkObjectName)},
		{name: "key", read: r.text(&s.key, nil)},
		{name: "optional", read: r.flag(&s.optional)},
	}
}

func (r *reading) fielded(s *selector) []key {
	return []key{{name: "fieldPath", read: r.text(&s.path, checkFieldPath)}, {name: "apiVersion", read: func(string, json.RawMessage) {}}}
}

func (r *reading) measured(s *selector) []key {
	return []key{
		{name: "containerName", read: r.text(&s.container, nil)},
		{name: "resource", read: r.text(&s.resource, nil)},
		{name: "divisor", read: r.text(&s.quantity, nil)},
	}
}

func (r *reading) flag(target *bool) read {
	return func(path string, value json.RawMessage) {
		if json.Unmarshal(value, target) != nil {
			r.refuse(path, value, "is neither true nor false")
		}
	}
}

// complete turns what was read into Kubernetes' form. The error goes on after the name.
func (v *variable) complete(all []selector) error {
	if len(all) > 1 || len(all) == 1 && v.value != "" {
		return errors.New("has more than one value: one of value and the references is right")
	}
	if len(all) == 1 && all[0].key == "*" {
		return v.completeAll(all[0])
	}
	if err := checkVariableName(v.name); err != nil {
		return err
	}
	if len(all) == 0 {
		return nil
	}
	from, err := all[0].tree()
	v.from = from
	return err
}

// completeAll is for SlimFaas's {"Name":"PREFIX_*","SecretRef":{"Name":"…","Key":"*"}}: all keys, with a prefix.
func (v *variable) completeAll(s selector) error {
	prefix, ok := strings.CutSuffix(v.name, "*")
	if !ok || prefix != "" && checkVariableName(prefix) != nil {
		return errors.New(`stands for the key "*": a prefix with * after it is right, such as "DB_*"`)
	}
	reference := map[string]string{"secretKeyRef": "secretRef", "configMapKeyRef": "configMapRef"}[s.kind]
	if reference == "" || s.name == "" {
		return errors.New(`stands for all keys of an object without a name: name it in SecretRef or ConfigMapRef`)
	}
	v.name = prefix
	v.source = tree{reference: s.object()}
	if prefix != "" {
		v.source["prefix"] = prefix
	}
	return nil
}

func (s selector) object() tree {
	object := tree{"name": s.name}
	if s.optional {
		object["optional"] = true
	}
	return object
}

// tree is the valueFrom that Kubernetes takes.
func (s selector) tree() (tree, error) {
	switch s.kind {
	case "fieldRef":
		if s.path == "" {
			return nil, errors.New("has a FieldRef without a FieldPath: one such as metadata.name is right")
		}
		return tree{s.kind: tree{"fieldPath": s.path}}, nil
	case "resourceFieldRef":
		return s.measure()
	}
	if s.name == "" || checkDataKey(s.key) != nil {
		return nil, fmt.Errorf("refers to the key %s of %s: both must be given, and a key is of letters, digits, '-', '_' and '.'", quote(s.key), quote(s.name))
	}
	object := s.object()
	object["key"] = s.key
	return tree{s.kind: object}, nil
}

func (s selector) measure() (tree, error) {
	of, name, _ := strings.Cut(s.resource, ".")
	divisors := map[string][]string{"cpu": {"1m", "1"}, "memory": bytesDivisors(), "ephemeral-storage": bytesDivisors()}[name]
	if of != "limits" && of != "requests" || divisors == nil {
		return nil, fmt.Errorf("has the Resource %s: one such as limits.cpu or requests.memory is right", quote(s.resource))
	}
	field := tree{"resource": s.resource}
	if s.container != "" {
		field["containerName"] = s.container
	}
	if s.quantity != "" && s.quantity != "0" {
		if !slices.Contains(divisors, s.quantity) {
			return nil, fmt.Errorf("has the Divisor %s: one of %s is right", quote(s.quantity), strings.Join(divisors, ", "))
		}
		field["divisor"] = s.quantity
	}
	return tree{"resourceFieldRef": field}, nil
}

func bytesDivisors() []string {
	return []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
}

// What Kubernetes takes in every version that is in use (k8s.io/apimachinery, pkg/util/validation).
var (
	variableName = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`)
	dataKey      = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
	labelOrNote  = regexp.MustCompile(`^metadata\.(?:labels|annotations)\['(.*)'\]$`)
)

func checkVariableName(name string) error {
	if !variableName.MatchString(name) || name == "." || strings.HasPrefix(name, "..") {
		return errors.New("is no name of a variable: letters, digits, '_', '-' and '.' are right, and no digit at the beginning")
	}
	return nil
}

func checkDataKey(name string) error {
	if !dataKey.MatchString(name) || name == "." || strings.HasPrefix(name, "..") {
		return errors.New("is no key of a Secret or ConfigMap")
	}
	return nil
}

func checkObjectName(name string) error {
	if !isSubdomain(name) {
		return errors.New("is no name of a Secret or ConfigMap: a-z, 0-9, '-' and '.' are right")
	}
	return nil
}

func checkFieldPath(path string) error {
	fields := []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	if match := labelOrNote.FindStringSubmatch(path); match != nil && checkLabelKey(match[1]) == nil || slices.Contains(fields, path) {
		return nil
	}
	return errors.New("is no field that a variable can have: one such as metadata.name or status.podIP is right")
}
