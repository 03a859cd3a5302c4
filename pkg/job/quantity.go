package job

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// quantityForm is what Kubernetes takes for a quantity, within bounds: its own parser has none, and an exponent of a thousand million keeps it busy for ever.
var quantityForm = regexp.MustCompile(`^\+?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE]([+-]?[0-9]{1,2})|[numkMGTPE]|[KMGTPE]i)?$`)

const maxExponent = 18

// parseQuantity reads an amount of a resource. The error goes on after the value.
func parseQuantity(text string) (resource.Quantity, error) {
	wrong := fmt.Errorf(`is no quantity: one such as "400m", "1.5" or "64Mi" is right`)
	match := quantityForm.FindStringSubmatch(text)
	if match == nil {
		return resource.Quantity{}, wrong
	}
	if exponent, _ := strconv.Atoi(match[1]); exponent > maxExponent || exponent < -maxExponent { // no exponent is 0
		return resource.Quantity{}, wrong
	}
	q, err := resource.ParseQuantity(match[0])
	if err != nil {
		return resource.Quantity{}, wrong
	}
	return q, nil
}

// asWholes reports whether there are only whole ones of a resource, and as many requested as is the limit (k8s.io/kubernetes, pkg/apis/core/helper:
// IsIntegerResourceName, IsOvercommitAllowed).
func asWholes(name string) bool {
	return strings.Contains(name, "/") && !strings.Contains(name, "kubernetes.io/") || strings.HasPrefix(name, hugePages)
}

const hugePages = "hugepages-"

// checkWholes refuses parts of a resource that there are only whole ones of.
func checkWholes(name string, q resource.Quantity) error {
	unit := resource.MustParse("1")
	if size, found := strings.CutPrefix(name, hugePages); found {
		if page, err := parseQuantity(size); err == nil && page.Sign() > 0 {
			unit = page
		}
	}
	if !asWholes(name) || q.Value()%unit.Value() == 0 && q.MilliValue()%1000 == 0 {
		return nil
	}
	return fmt.Errorf("%q is no multiple of %s, as it must be", q.String(), unit.String())
}
