package function_test

import (
	"math/rand/v2"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/function"
)

const private, public = function.Private, function.Public

// ruled is a function with rules as the annotation has them.
func ruled(t testing.TB, standard function.Visibility, rules string) function.Function {
	t.Helper()
	f, problems := read(on("sluice/DefaultVisibility", string(standard), "sluice/PathsStartWithVisibility", rules))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return f
}

func TestVisibilityOf(t *testing.T) {
	for _, c := range []struct {
		standard    function.Visibility
		rules, path string
		want        function.Visibility
	}{
		{public, "", "/x", public},
		{private, "", "/x", private},
		{private, "", "/%zz", private},
		{public, "", "/%zz", public},
		{public, "Public:/open", "/%zz", public},
		{public, "Private:/admin", "/admin", private},
		{public, "Private:/admin", "/admin/x", private},
		{public, "Private:/admin", "/administrator", private}, // a prefix is a text
		{public, "Private:/admin", "/adm", public},
		{public, "Private:/admin", "/x/admin", public},
		{public, "Private:/admin", "/", public},
		{public, "Private:/admin", "", public},
		{public, "Private:admin", "/admin", private},
		{public, "Private:/admin", "admin", private},
		{public, "Private:/", "/anything", private},
		{public, "Private:/", "", private},
		{public, "Private:/admin/", "/admin/", private},
		{public, "Private:/admin/", "/admin", private}, // a server redirects one to the other
		{public, "Private:/admin/", "/administrator", public},
		{public, "Public:/admin/login,Private:/admin", "/admin/login", public},
		{public, "Public:/admin/login,Private:/admin", "/admin/users", private},
		{public, "Private:/admin,Public:/admin/login", "/admin/login", private}, // the first that fits wins
		{private, "Public:/open", "/open/x", public},
		{private, "Public:/open", "/OPEN//x;v=1/./y%20z/100%25", public},
		{private, "Public:/open", "/open/a/../b", public},
		{private, "Public:/open", "/closed", private},
		{private, "Public:/my%20page", "/my%20page", public},
		{private, "Public:/my page", "/my%20page", public},
		{private, "Public:/été", "/%C3%89T%C3%89", public},
		{public, "Private:/admin", "/caf%E9", public}, // Latin-1
		{public, "Private:/admin", "/a%20b+c;v=1//x/../y.z/?", public},
		{public, "Private:/admin", "/100%25", public},
		{public, "Private:/admin", "/.well-known/acme", public},
		{public, "Private:/admin", "/" + strings.Repeat("long/", 2000), public},
	} {
		if got := ruled(t, c.standard, c.rules).VisibilityOf(c.path); got != c.want {
			t.Errorf("%s with %q, %.80q: got %s", c.standard, c.rules, c.path, got)
		}
	}
}

// tricks get to /admin/users on one server or another.
var tricks = []string{
	"/admin/users", "admin/users", "/ADMIN/users", "/aDmIn/users", "//admin/users", "///admin//users", "/./admin/users", "/.//admin/users",
	"/x/../admin/users", "/x/y/../../admin/users", "/../admin/users", "/../../../../admin/users", "/admin/./users", "/admin/x/../users", "/admin//users",
	"/%61dmin/users", "/%61%64%6d%69%6e/users", "/%61%64%6D%69%6E/users", "/%41dmin/users", "/%2fadmin/users", "/%2Fadmin/users", "/%5cadmin/users",
	"/%2561dmin/users", "/%252561dmin/users", "/%25252561dmin/users", "/%2525252525252561dmin/users", "/%252fadmin/users", "/%%36%31dmin/users", "/%2%35%361dmin/users",
	"/x/%2e%2e/admin/users", "/x/%2E%2E/admin/users", "/x/.%2e/admin/users", "/x/%2e./admin/users", "/x%2f..%2fadmin/users", "/x%2F%2e%2e%2Fadmin/users",
	"/x/%252e%252e/admin/users", "/x/%252e%252e%252fadmin/users", "/x%252f..%252fadmin/users", "/x/..%252fadmin/users", "/%2e/admin/users", "/%2e%2e/admin/users",
	`\admin\users`, `/\admin/users`, `/x\..\admin/users`, `/x/..\admin/users`, "/x%5c..%5cadmin/users", "/x%5C%2e%2e%5Cadmin/users", "/x%255c..%255cadmin/users", `/admin\users`,
	"/x/..;/admin/users", "/x/..;a=b/admin/users", "/x/..%3b/admin/users", "/x/%2e%2e;/admin/users", "/;/admin/users", "/;a=b/admin/users", "/admin;/users", "/admin;a=b;c/users", "/.;/admin/users", "/%3b/admin/users", "/x/..%253b/admin/users",
	"/%00admin/users", "/ad%00min/users", "/admin%00/users", "/admin/users%00.png", "/x/../admin/users%00/../../open", "/%0aadmin/users", "/ad%0dmin/users", "/%09admin/users", "/admin%7f/users", "/x/.%00./admin/users", "/x/..%00/admin/users",
	"/admin./users", "/admin.../users", "/admin%20/users", "/admin%20./users", "/%20admin/users", "/x/..%20/admin/users", "/x/.%20./%2e%2e/admin/users", "/admin/users.", "/admin/users/", "/admin/users/.", "/admin/users/..%2fusers",
	"//host/admin/users", "///host/admin/users", `/\host/admin/users`, "/%2fhost/admin/users", "//host:80/admin/users", "//u:p@host/admin/users",
	"/x%2Fy/%2e%2e/admin/users", "/x%2Fy/../admin/users", "/x%252Fy/%252e%252e/admin/users", "/x/../admin//../admin/users", "/x//../../admin/users",
	"/x/../admin/users%3F/../../open", "/x/../admin/users%23/../../open", "/x/../admin/users#/../../../open", "/admin/users/../../open", "/admin/users%2f..%2f..%2fopen",
	"/%c0%afadmin/users", "/x/%c0%ae%c0%ae/admin/users", "/%e0%80%afadmin/users", "/%f0%80%80%afadmin/users", "/%C0%2Fadmin", "/x/%25c0%25ae%25c0%25ae/admin/users",
	"/%", "/%zz/admin/users", "/%u0061dmin/users", "/x/%2/admin/users", "/%2e%2", "/admin%/users",
	"/adm\u0131n/../admin/users", "/admin/\u017fusers/../users", "/admin/u\u017fers", "/admin/u%C5%BFers",
	"/" + strings.Repeat("a/../", 5000) + "admin/users", "/" + strings.Repeat("%25", 20000) + "61dmin/users", "/" + strings.Repeat("%2e%2e%2f%3b;//..\\", 500) + "/admin/users",
}

// TestRow2PathTricks: no spelling gets round a rule, whether it makes the path private or takes it out of what is public.
func TestRow2PathTricks(t *testing.T) {
	for rules, standard := range map[string]function.Visibility{
		"Private:/admin/users": public,
		"private:ADMIN/Users":  public,
		"Public:/open,Public:/x,Public:/admin/x,Private:/admin/users,Public:/": private,
		"Public:/open": private,
	} {
		f := ruled(t, standard, rules)
		for _, trick := range tricks {
			if f.VisibilityOf(trick) != private {
				t.Errorf("%q gets round %q", trick[:min(len(trick), 100)], rules)
			}
		}
	}
}

// TestRow2LookAlikes: characters that only look like others are others, on the servers too.
func TestRow2LookAlikes(t *testing.T) {
	f := ruled(t, public, "Private:/admin/users")
	for _, path := range []string{
		"/admin\uff0fusers", "/admin%EF%BC%8Fusers", "/\uff41dmin/users", "/%EF%BD%81dmin/users", "/x/\u2024\u2024/admin/users", "/x/\uff0e\uff0e/admin/users",
		"/admin\u2215users", "/adm\u0131n/users", "/ad\u200bmin/users",
	} {
		if got := f.VisibilityOf(path); got != public {
			t.Errorf("%q is %s", path, got)
		}
	}
}

// plain is the reading that a careful server has: escapes off once, then cleaned.
func plain(f function.Function, raw string) []function.Visibility {
	decoded, err := url.PathUnescape(raw)
	if err != nil {
		return nil
	}
	var all []function.Visibility
	for _, reading := range []string{decoded, "/" + strings.TrimPrefix(path.Clean("/"+decoded), "/")} {
		visibility := f.DefaultVisibility
		for _, rule := range f.PathVisibility {
			if strings.HasPrefix(strings.ToLower("/"+strings.TrimPrefix(reading, "/")), strings.ToLower(rule.Prefix)) {
				visibility = rule.Visibility
				break
			}
		}
		all = append(all, visibility)
	}
	return all
}

var ruleSets = []struct {
	standard function.Visibility
	rules    string
}{
	{public, "Private:/admin"},
	{public, "Public:/admin/login,Private:/admin,Private:/x/"},
	{private, "Public:/open,Public:/admin/open"},
	{private, "Private:/open/not,Public:/open"},
}

// FuzzVisibilityOf: never less private than a plain reading, nor when a letter is escaped once more or its case changes.
func FuzzVisibilityOf(f *testing.F) {
	for i, trick := range tricks {
		f.Add(trick[:min(len(trick), 200)], uint64(i))
	}
	f.Add("/open/login", uint64(1))
	f.Fuzz(func(t *testing.T, raw string, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		set := ruleSets[random.IntN(len(ruleSets))]
		fn := ruled(t, set.standard, set.rules)
		got := fn.VisibilityOf(raw)
		for _, visibility := range plain(fn, raw) {
			if visibility == private && got != private {
				t.Fatalf("%s, %s: %q is %s, by the plain reading it is %s", set.standard, set.rules, raw, got, visibility)
			}
		}
		if disguised := disguise(raw, random); got == private && fn.VisibilityOf(disguised) != private {
			t.Fatalf("%s, %s: %q is private, and as %q it is not", set.standard, set.rules, raw, disguised)
		}
	})
}

// disguise changes how a path is written, and not what it means.
func disguise(raw string, random *rand.Rand) string {
	var disguised strings.Builder
	for i := range len(raw) {
		c := raw[i]
		switch letter := c|0x20 >= 'a' && c|0x20 <= 'z'; {
		case letter && random.IntN(4) == 0 && (i < 2 || raw[i-1] != '%' && raw[i-2] != '%'):
			disguised.WriteString("%" + string("0123456789abcdef"[c>>4]) + string("0123456789ABCDEF"[c&15]))
		case c == '/' && random.IntN(4) == 0:
			disguised.WriteString([]string{"//", "/./", "/x/../", "/;p=1/"}[random.IntN(4)])
		default:
			disguised.WriteByte(c)
		}
	}
	return disguised.String()
}

// TestPathsCostLittle: a path of tricks is given up before its readings are many.
func TestPathsCostLittle(t *testing.T) {
	for _, trick := range append(tricks, "/"+strings.Repeat(`%25252e%2f;\..//. %00`, 60), strings.Repeat("/", 1<<20)) {
		readings, ok := function.ReadingsOf(trick)
		if total := len(strings.Join(readings, "")); ok && (total > 64<<10 || len(readings) > 256) {
			t.Errorf("%.100q has %d readings of %d bytes", trick, len(readings), total)
		}
	}
}

func BenchmarkVisibilityOf(b *testing.B) {
	f := ruled(b, public, "Private:/admin,Private:/internal")
	b.ReportAllocs()
	for b.Loop() {
		f.VisibilityOf("/v1/customers/12345/orders")
	}
}

func BenchmarkVisibilityOfHostile(b *testing.B) {
	f := ruled(b, public, "Private:/admin,Private:/internal")
	hostile := "/" + strings.Repeat(`%25252e%2f;\..//. %00`, 60)
	for b.Loop() {
		f.VisibilityOf(hostile)
	}
}
