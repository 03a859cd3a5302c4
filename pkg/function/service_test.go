package function

import "testing"

func TestProtocolOfServices(t *testing.T) {
	h2c := func(p ServicePort) ServicePort { p.AppProtocol = "kubernetes.io/h2c"; return p }
	selecting := func(selector map[string]string, ports ...ServicePort) []Service {
		return []Service{{Selector: selector, Ports: ports}}
	}
	app := map[string]string{"app": "f"}
	grpc := Port{Name: "grpc", Number: 9000}
	for _, c := range []struct {
		name     string
		services []Service
		want     string
	}{
		{"no Service", nil, ""},
		{"by number", selecting(app, h2c(ServicePort{TargetNumber: 9000})), ProtocolH2C},
		{"by name", selecting(app, h2c(ServicePort{TargetName: "grpc"})), ProtocolH2C},
		{"one of several ports", selecting(app, ServicePort{TargetNumber: 80}, h2c(ServicePort{TargetName: "grpc"})), ProtocolH2C},
		{"one of several Services", append(selecting(app, ServicePort{TargetNumber: 9000}), selecting(app, h2c(ServicePort{TargetNumber: 9000}))...), ProtocolH2C},
		{"a part of the labels", selecting(map[string]string{"tier": "back", "app": "f"}, h2c(ServicePort{TargetNumber: 9000})), ProtocolH2C},
		{"another number", selecting(app, h2c(ServicePort{TargetNumber: 9001})), ""},
		{"another name", selecting(app, h2c(ServicePort{TargetName: "http"})), ""},
		{"a name is no number", selecting(app, h2c(ServicePort{TargetName: "http", TargetNumber: 9000})), ""},
		{"no target", selecting(app, h2c(ServicePort{})), ""},
		{"the other port speaks it", selecting(app, h2c(ServicePort{TargetNumber: 80}), ServicePort{TargetNumber: 9000}), ""},
		{"no protocol", selecting(app, ServicePort{TargetNumber: 9000}), ""},
		{"another protocol", selecting(app, ServicePort{TargetNumber: 9000, AppProtocol: "kubernetes.io/ws"}), ""},
		{"another case", selecting(app, ServicePort{TargetNumber: 9000, AppProtocol: "kubernetes.io/H2C"}), ""},
		{"another label", selecting(map[string]string{"app": "g"}, h2c(ServicePort{TargetNumber: 9000})), ""},
		{"a label more", selecting(map[string]string{"app": "f", "zone": "a"}, h2c(ServicePort{TargetNumber: 9000})), ""},
		{"an empty label that is not there", selecting(map[string]string{"zone": ""}, h2c(ServicePort{TargetNumber: 9000})), ""},
		{"no selector", selecting(nil, h2c(ServicePort{TargetNumber: 9000})), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ProtocolOf(c.services, map[string]string{"app": "f", "tier": "back"}, grpc); got != c.want {
				t.Errorf("it is %q, want %q", got, c.want)
			}
		})
	}
	if got := ProtocolOf(selecting(app, h2c(ServicePort{TargetName: ""})), app, Port{}); got != "" {
		t.Errorf("a port without name and number: %q", got)
	}
}
