// Prints what protobuf bodies of the Kubernetes API look like, as Go's types say it in their tags: the
// published .proto files lack which fields are pointers and which are left out where they are empty, and
// both decide what a body means as JSON.
//
//	go run . > types.txt
package main

import (
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What a request or an answer may be, by its apiVersion.
var kinds = []struct {
	version string
	types   []any
}{
	{"v1", []any{
		corev1.ConfigMap{}, corev1.ConfigMapList{}, corev1.Endpoints{}, corev1.EndpointsList{},
		corev1.Event{}, corev1.EventList{}, corev1.Namespace{}, corev1.NamespaceList{}, corev1.Node{},
		corev1.NodeList{}, corev1.Pod{}, corev1.PodList{}, corev1.Secret{}, corev1.SecretList{},
		corev1.Service{}, corev1.ServiceList{}, corev1.ServiceAccount{}, corev1.ServiceAccountList{},
		corev1.Binding{}, metav1.Status{}, metav1.DeleteOptions{},
	}},
	{"apps/v1", []any{
		appsv1.DaemonSet{}, appsv1.DaemonSetList{}, appsv1.Deployment{}, appsv1.DeploymentList{},
		appsv1.ReplicaSet{}, appsv1.ReplicaSetList{}, appsv1.StatefulSet{}, appsv1.StatefulSetList{},
		appsv1.ControllerRevision{}, appsv1.ControllerRevisionList{},
	}},
	{"authentication.k8s.io/v1", []any{authenticationv1.SelfSubjectReview{}, authenticationv1.TokenRequest{}}},
	{"authorization.k8s.io/v1", []any{
		authorizationv1.LocalSubjectAccessReview{}, authorizationv1.SelfSubjectAccessReview{},
		authorizationv1.SelfSubjectRulesReview{}, authorizationv1.SubjectAccessReview{},
	}},
	{"autoscaling/v1", []any{autoscalingv1.Scale{}}},
	{"batch/v1", []any{batchv1.CronJob{}, batchv1.CronJobList{}, batchv1.Job{}, batchv1.JobList{}}},
	{"coordination.k8s.io/v1", []any{coordinationv1.Lease{}, coordinationv1.LeaseList{}}},
	{"discovery.k8s.io/v1", []any{discoveryv1.EndpointSlice{}, discoveryv1.EndpointSliceList{}}},
	{"events.k8s.io/v1", []any{eventsv1.Event{}, eventsv1.EventList{}}},
	{"meta.k8s.io/v1", []any{
		metav1.DeleteOptions{}, metav1.PartialObjectMetadata{}, metav1.PartialObjectMetadataList{},
		metav1.WatchEvent{},
	}},
	{"networking.k8s.io/v1", []any{networkingv1.NetworkPolicy{}, networkingv1.NetworkPolicyList{}}},
	{"policy/v1", []any{policyv1.Eviction{}}},
}

// Types whose JSON is not that of their fields.
var special = map[reflect.Type]string{
	reflect.TypeFor[metav1.Time]():          "Time",
	reflect.TypeFor[metav1.MicroTime]():     "MicroTime",
	reflect.TypeFor[metav1.FieldsV1]():      "FieldsV1",
	reflect.TypeFor[resource.Quantity]():    "Quantity",
	reflect.TypeFor[intstr.IntOrString]():   "IntOrString",
	reflect.TypeFor[runtime.RawExtension](): "RawExtension",
}

var messages = map[string]reflect.Type{}

func main() {
	fmt.Println("# Made by generate.go from", "k8s.io/api", version()+".")
	fmt.Println("# kind APIVERSION KIND MESSAGE, then each message with its fields: NUMBER NAME TYPE,")
	fmt.Println("# ? where it is left out when empty, < where its fields stand in the place of it.")
	for _, group := range kinds {
		for _, value := range group.types {
			t := reflect.TypeOf(value)
			fmt.Println("kind", group.version, t.Name(), message(t))
		}
	}
	for done := 0; done < len(messages); {
		done = len(messages)
		for _, t := range known() {
			fields(t, func(reflect.StructField, string, string) {})
		}
	}
	for _, t := range known() {
		fmt.Println(message(t))
		fields(t, func(field reflect.StructField, number, name string) {
			mark := ""
			options := strings.Split(field.Tag.Get("json"), ",")
			for _, option := range options[1:] {
				switch option {
				case "omitempty":
					mark += " ?"
				case "inline":
					mark += " <"
				}
			}
			fmt.Println(" ", number, name, describe(field.Type)+mark)
		})
	}
}

func version() string {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "k8s.io/api" {
			return words[1]
		}
	}
	panic("go.mod names no k8s.io/api")
}

func known() []reflect.Type {
	var all []reflect.Type
	for _, t := range messages {
		all = append(all, t)
	}
	sort.Slice(all, func(i, j int) bool { return message(all[i]) < message(all[j]) })
	return all
}

// The fields of a message, which protobuf tags name.
func fields(t reflect.Type, each func(field reflect.StructField, number, name string)) {
	for i := range t.NumField() {
		field := t.Field(i)
		tag := field.Tag.Get("protobuf")
		if tag == "" {
			// TypeMeta stands in the envelope.
			if field.Name != "TypeMeta" {
				panic(t.String() + "." + field.Name + " has no tag")
			}
			continue
		}
		name := strings.Split(field.Tag.Get("json"), ",")[0]
		if name == "" {
			name = field.Name
		}
		each(field, strings.Split(tag, ",")[1], name)
		describe(field.Type)
	}
}

func message(t reflect.Type) string {
	path := strings.Split(t.PkgPath(), "/")
	name := path[len(path)-2] + "." + path[len(path)-1] + "." + t.Name()
	messages[name] = t
	return name
}

func describe(t reflect.Type) string {
	if name, ok := special[t]; ok {
		return name
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + describe(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		if _, ok := reflect.PointerTo(t).MethodByName("ProtoMessage"); ok {
			// A list that is a message with the list as its only field.
			return "list:" + describe(t.Elem())
		}
		return "[]" + describe(t.Elem())
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			panic(t.String() + " has other keys")
		}
		return "map:" + describe(t.Elem())
	case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
		return t.Kind().String()
	case reflect.Struct:
		return message(t)
	}
	panic(t.String() + " is of no kind that is known here")
}
