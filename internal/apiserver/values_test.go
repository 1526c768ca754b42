package apiserver

import (
	"strings"
	"testing"
)

const valueData = `"data":{"@type":"type.googleapis.com/interrex.v1.Value","text":"hello"}`

func valueOfType(version, name string) string {
	return `{"type":{"group":"interrex","group_version":"` + version + `","kind":"Value"},"name":"` + name + `"}`
}

func TestWhatHasTheBuiltInTypeIsAValue(t *testing.T) {
	nd := cluster(t, 1)[0]
	for body, want := range map[string]string{
		`{"id":` + valueOfType("v2", "a") + `,` + valueData + `}`: "the built-in type is interrex.v1.Value",
		`{"id":` + valueOfType("v1", "a") + `}`:                   "data: for interrex.v1.Value it must be",
	} {
		if r := nd.curl("ResourceService/Write", `{"resource":`+body+`}`); r.kind() != "invalid" || !strings.Contains(r.body, want) {
			t.Errorf("%s: %s", body, r.body)
		}
	}
	if r := nd.curl("ResourceService/Write", `{"resource":{"id":`+valueOfType("v1", "a")+`,`+valueData+`}}`); r.at("resource", "data", "text") != "hello" {
		t.Errorf("%s", r.body)
	}
}

func TestACheckIsAConditionOfItsGroup(t *testing.T) {
	nd := cluster(t, 1)[0]
	group := func(version string) reply {
		return nd.curl("StateService/Group", `{"operations":[
			{"@type":"type.googleapis.com/interrex.v1.ResourceServiceCheckRequest","id":`+valueOfType("v1", "lock")+`,"version":"`+version+`"},
			{"@type":"type.googleapis.com/interrex.v1.ResourceServiceWriteRequest","overwrite":true,"resource":{"id":`+valueOfType("v1", "b")+`,`+valueData+`}}]}`)
	}
	if r := group(""); r.kind() != "cas failure" || !strings.Contains(r.body, "operation 1: ") {
		t.Errorf("%s", r.body)
	}
	if r := group("0"); r.status != 200 {
		t.Errorf("%s", r.body)
	}
	written := nd.curl("ResourceService/Write", `{"resource":{"id":`+valueOfType("v1", "lock")+`,`+valueData+`}}`)
	version, _ := written.at("resource", "version").(string)
	for given, kind := range map[string]any{"": nil, version: nil, "0": "cas failure", "1": "cas failure"} {
		if r := group(given); r.kind() != kind {
			t.Errorf("version %q: %s", given, r.body)
		}
	}
}

func TestNamesAreListedBySeparator(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, name := range []string{"a", "a/b/1", "a/b/2", "a/c", "a/d/", "b/x"} {
		if r := nd.curl("ResourceService/Write", `{"resource":{"id":`+valueOfType("v1", name)+`,`+valueData+`}}`); r.status != 200 {
			t.Fatal(r.body)
		}
	}
	list := func(rest string) (names []string) {
		for token := ""; ; {
			r := nd.curl("ResourceService/List", `{"type":{"group":"interrex","group_version":"v1","kind":"Value"},"names_only":true,"page_size":2,"page_token":"`+token+`",`+rest+`}`)
			if r.status != 200 {
				t.Fatal(r.body)
			}
			page, _ := r.at("names").([]any)
			for _, name := range page {
				names = append(names, name.(string))
			}
			if token, _ = r.at("next_page_token").(string); token == "" {
				return names
			}
		}
	}
	for rest, want := range map[string]string{
		`"separator":"/"`:                     "a a/ b/",
		`"separator":"/","name_prefix":"a/"`:  "a/b/ a/c a/d/",
		`"separator":"/","name_prefix":"a/b"`: "a/b/",
		`"separator":""`:                      "a a/b/1 a/b/2 a/c a/d/ b/x",
	} {
		if got := strings.Join(list(rest), " "); got != want {
			t.Errorf("%s: got %s, want %s", rest, got, want)
		}
	}
}
