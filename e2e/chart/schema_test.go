package chart

import (
	"strings"
	"testing"
)

// A wrong value is refused before anything is made, and the message names it.
func TestValuesAreRefusedByName(t *testing.T) {
	tests := []struct {
		set  string
		want []string // in the message
	}{
		{"gatway.replicas=2", []string{"gatway"}},
		{"gateway.replica=2", []string{"/gateway", "replica"}},
		{"gateway.replicas=two", []string{"/gateway/replicas", "integer"}},
		{"gateway.replicas=-1", []string{"/gateway/replicas", "minimum"}},
		{"gateway.startWait=120", []string{"/gateway/startWait", "string"}},
		{"gateway.startWait=2 minutes", []string{"/gateway/startWait", "pattern"}},
		{"gateway.extraPorts[0]=http", []string{"/gateway/extraPorts/0", "integer"}},
		{"gateway.extraPorts[0]=80", []string{"/gateway/extraPorts/0", "minimum"}},
		{"gateway.extraPorts={8080,8080}", []string{"/gateway/extraPorts", "equal"}},
		{"gateway.trustedProxies=10.0.0.1", []string{"/gateway/trustedProxies", "array"}},
		{"gateway.trustedProxies[0]=proxy.example.org", []string{"/gateway/trustedProxies/0", "pattern"}},
		{"gateway.corsAllowOrigin[0]=example.org", []string{"/gateway/corsAllowOrigin/0", "pattern"}},
		{"gateway.corsAllowOrigin=*", []string{"/gateway/corsAllowOrigin", "array"}},
		{"gateway.exposeFunctions=1", []string{"/gateway/exposeFunctions", "boolean"}},
		{"gateway.bodyBudget=512MB", []string{"/gateway/bodyBudget", "pattern"}},
		{"gateway.drainDelaySeconds=5s", []string{"/gateway/drainDelaySeconds", "integer"}},
		{"gateway.service.type=External", []string{"/gateway/service/type", "LoadBalancer"}},
		{"gateway.service.aliases[0]=Slim.Faas", []string{"/gateway/service/aliases/0", "pattern"}},
		{"gateway.service.port=80000", []string{"/gateway/service/port", "maximum"}},
		{"gateway.podLabels.team=1", []string{"/gateway/podLabels/team", "string"}},
		{"gateway.extraEnv[0].value=x", []string{"/gateway/extraEnv/0", "name"}},
		{"gateway.resources.limit.memory=1Gi", []string{"/gateway/resources", "limit"}},
		{"dispatcher.replicas=2", []string{"/dispatcher", "replicas"}},
		{"scaler.scaleDownTimeout=-1s", []string{"/scaler/scaleDownTimeout", "pattern"}},
		{"scaler.prometheusURL=prometheus:9090", []string{"/scaler/prometheusURL", "pattern"}},
		{"scaler.baseFunctionURL=https://{pod_ip}", []string{"/scaler/baseFunctionURL", "pattern"}},
		{"scaler.startNeverCalled=yes", []string{"/scaler/startNeverCalled", "boolean"}},
		{"jobrunner.enabled=perhaps", []string{"/jobrunner/enabled", "boolean"}},
		{"jobrunner.replicas=-1", []string{"/jobrunner/replicas", "minimum"}},
		{"jobrunner.jobsConfiguration=1", []string{"/jobrunner/jobsConfiguration", "string", "object"}},
		{"jobrunner.scaleDownTimeout=1s", []string{"/jobrunner", "scaleDownTimeout"}},
		{"image.pullPolicy=Sometimes", []string{"/image/pullPolicy", "IfNotPresent"}},
		{"imagePullSecrets[0].name=login", []string{"/imagePullSecrets/0", "string"}},
		{"prefix=a.b", []string{"/prefix", "pattern"}},
		{"fullnameOverride=My_App", []string{"/fullnameOverride", "pattern"}},
		{"queue.limitPerFunction=0", []string{"/queue/limitPerFunction", "minimum"}},
		{"queue.limitPerJob=many", []string{"/queue/limitPerJob", "integer"}},
		{"queue.storageLimit=lots", []string{"/queue/storageLimit", "pattern"}},
		{"queue.idempotencyTTL=24", []string{"/queue/idempotencyTTL", "string"}},
		{"log.level=loud", []string{"/log/level", "debug"}},
		{"security.runAsUser=0", []string{"/security/runAsUser", "minimum"}},
		{"nats.replicas=2", []string{"/nats/replicas", "1", "3", "5"}},
		{"nats.enabled=maybe", []string{"/nats/enabled", "boolean"}},
		{"nats.maxPayload=8388608", []string{"/nats/maxPayload"}},
		{"nats.maxPayload=1Gi", []string{"/nats/maxPayload", "pattern"}},
		{"nats.persistence.accessModes[0]=ReadOnlyMany", []string{"/nats/persistence/accessModes/0"}},
		{"nats.persistence.size=10", []string{"/nats/persistence/size"}},
		{"nats.existingSecret=My Secret", []string{"/nats/existingSecret", "pattern"}},
		{"nats.external.url=nats.example.com:4222", []string{"/nats/external/url", "pattern"}},
		{"nats.external.auth=kerberos", []string{"/nats/external/auth", "nkey"}},
		{"nats.external.streamReplicas=4", []string{"/nats/external/streamReplicas"}},
		// What a schema cannot say is checked when the chart is rendered.
		{"nats.enabled=false", []string{"nats.external.url", "nats.enabled is false"}},
		{"nats.enabled=false,nats.external.url=nats://n,nats.external.auth=nkey", []string{"nats.external.existingSecret", "nkey"}},
		{"nats.enabled=false,nats.external.url=nats://n,nats.external.tls.clientCertificate=true", []string{"nats.external.tls.existingSecret"}},
		{"nats.maxFileStore=10Gi", []string{"nats.maxFileStore 10Gi", "nats.persistence.size", "10Gi"}},
		{"gateway.extraPorts[0]=5001", []string{"gateway.extraPorts 5001", "neither 5000 nor 5001"}},
		{"gateway.extraPorts[0]=8080,gateway.service.port=8080", []string{"gateway.extraPorts 8080", "gateway.service.port"}},
		{"queue.storageLimit=8Gi", []string{"queue.storageLimit 8Gi", "nats.maxFileStore"}},
	}
	for _, tt := range tests {
		t.Run(tt.set, func(t *testing.T) {
			_, err := template(t, "--set", tt.set)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message does not say %q: %v", want, err)
				}
			}
		})
	}
}

// Values at the edges of what is allowed.
func TestValuesAreAccepted(t *testing.T) {
	for _, set := range []string{
		"gateway.replicas=0", "gateway.drainTimeoutSeconds=0", "gateway.startWait=1m30.5s", "security.runAsUser=null,security.fsGroup=null",
		"nats.replicas=5", "queue.limitPerFunction=1", "nats.maxFileStore=9Gi", "gateway.resources.limits.memory=null", "global.anything=1",
		"nats.enabled=false,nats.external.url=nats://a:4222\\,nats://b:4222",
		"gateway.extraPorts[0]=1024,gateway.extraPorts[1]=65535", "gateway.corsAllowOrigin[0]=*", "gateway.trustedProxies[0]=fd00::/8",
		"jobrunner.replicas=0", "jobrunner.enabled=false", "jobrunner.jobsConfiguration.Configurations.a.Image=b", "jobrunner.jobsConfiguration=text",
		"scaler.prometheusURL=http://p", "scaler.baseFunctionURL=http://[::1]:5000/",
	} {
		t.Run(set, func(t *testing.T) {
			if objects := render(t, "--set", set); len(objects) == 0 {
				t.Error("nothing was rendered")
			}
		})
	}
}
