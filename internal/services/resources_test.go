package services

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/wire"
)

// whole is a resource with every field.
func whole(name string) *interrexv1.Resource {
	r := interrex.ResourceID{Type: interrex.ResourceType{Group: "demo", GroupVersion: "v1", Kind: "Server"}, Name: name}.WithDefaults()
	return &interrexv1.Resource{Id: wire.ResourceID(r), Data: &anypb.Any{TypeUrl: "example.com/demo.Unknown", Value: []byte("hello")}}
}

func TestEveryFieldOfAResourceIsInItsCommand(t *testing.T) {
	m := whole("web")
	m.Id.Uid, m.Version, m.Generation, m.Metadata = "u", "7", "g", map[string]string{"a": "b"}
	m.Owner = whole("rack").Id
	m.OwnerLease = &interrexv1.Fence{Key: "default/me", Token: 9}
	c, err := resourceToWrite(&interrexv1.ResourceServiceWriteRequest{Resource: m, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	w := c.(*resource.Write)
	back := interrex.Resource{ID: w.ID, Owner: *w.Owner, OwnerLease: *w.OwnerLease, Version: w.Version, Generation: w.Generation, Metadata: w.Metadata.Map(), Data: w.Data}
	if got := wire.Resource(back); !proto.Equal(got, m) || !w.Strict || w.Overwrite {
		t.Errorf("got %v, strict %v, want %v", got, w.Strict, m)
	}
	c, err = resourceToWrite(&interrexv1.ResourceServiceWriteRequest{Resource: m, Overwrite: true})
	if w := c.(*resource.Write); err != nil || w.Strict || !w.Overwrite || w.Generation != "" {
		t.Errorf("%+v, %v", w, err)
	}
	d, err := deleteResource(&interrexv1.ResourceServiceDeleteRequest{Id: m.Id, Version: "7", Strict: true})
	if want := (&resource.Delete{ID: w.ID, Version: "7", Strict: true}); err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestListsOfResourcesAreEventualUnlessTheySayOtherwise(t *testing.T) {
	in, err := method.NewRegistry("a", nil, method.NewSwitches(), Resources{}.Service())
	if err != nil {
		t.Fatal(err)
	}
	eventual := func(m *method.Method, consistency interrexv1.Consistency) (bool, error) {
		r := &method.Call{}
		err := r.Open(in, admission.Caller{}, m, nil, &interrexv1.ResourceServiceListRequest{Consistency: consistency}, time.Now())
		return r.Read.Eventual, err
	}
	for _, m := range in.Methods {
		if m.Writes() {
			continue
		}
		lists := strings.HasPrefix(m.Name(), "List")
		if is, err := eventual(m, 0); err != nil || is != lists {
			t.Errorf("%s: %v, %v", m.Name(), is, err)
		}
		if is, err := eventual(m, interrexv1.Consistency_CONSISTENCY_STRONG); err != nil || is {
			t.Errorf("%s, strong: %v, %v", m.Name(), is, err)
		}
	}
}
