package wire

import (
	"bytes"
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wording"
)

// maxValue is the largest size of a value, in bytes: that of a resource's data, less
// the overhead of an interrex.v1.Value.
const maxValue = interrex.MaxData - 4

// AbsentValue, as a version, demands that the key does not exist.
const AbsentValue = "0"

// valueOperation is the JSON of one operation of a group on keys.
type valueOperation struct {
	Put *struct {
		Key     string  `json:"key"`
		Value   *string `json:"value"`
		Binary  []byte  `json:"value_base64"`
		Version string  `json:"version"`
	} `json:"put"`
	Delete *valueTarget `json:"delete"`
	Check  *valueTarget `json:"check"`
}

type valueTarget struct {
	Key     string `json:"key"`
	Version string `json:"version"`
}

// ValueOperations parses a group of operations on keys, which is one JSON object:
//
//	{"operations": [{"put": {"key", "value" or "value_base64", "version"}},
//	                {"delete": {"key", "version"}}, {"check": {"key", "version"}}]}
//
// It returns the operations of a GroupRequest. The error is of kind ErrInvalid or
// ErrTooLarge, and names the operation, counted from 1.
func ValueOperations(namespace string, document []byte) ([]proto.Message, error) {
	var in struct {
		Operations []valueOperation `json:"operations"`
	}
	if err := CheckJSON(document); err != nil {
		return nil, err
	}
	// encoding/json would change what is not UTF-8, and accept duplicate names.
	err := protojson.Unmarshal(document, &structpb.Struct{})
	if err == nil {
		from := json.NewDecoder(bytes.NewReader(document))
		from.DisallowUnknownFields()
		err = from.Decode(&in)
	}
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, `body: it is not one {"operations": [...]} of put, delete and check: %s`, plainReason(err))
	}
	out := make([]proto.Message, len(in.Operations))
	for i, o := range in.Operations {
		if out[i], err = o.request(namespace); err != nil {
			detail := FromDetail(Detail(err))
			return nil, interrex.Errorf(detail.Kind, "operation %d: %s", i+1, detail.Message)
		}
	}
	return out, nil
}

// plainReason returns why JSON cannot be decoded, in about 512 bytes at most.
func plainReason(err error) string {
	why := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	why = strings.TrimPrefix(strings.TrimPrefix(why, "proto: "), "json: ")
	return wording.Excerpt(why, 512)
}

// request returns the request of an operation.
func (o valueOperation) request(namespace string) (proto.Message, error) {
	switch {
	case o.Put != nil && o.Delete == nil && o.Check == nil:
		id, err := KeyID(namespace, o.Put.Key)
		if err != nil {
			return nil, err
		}
		value := o.Put.Binary
		if (o.Put.Value != nil) == (value != nil) {
			return nil, interrex.Errorf(interrex.ErrInvalid, "put: give one of value and value_base64")
		}
		if o.Put.Value != nil {
			value = []byte(*o.Put.Value)
		}
		if o.Put.Version == AbsentValue {
			return WriteValue(id, value, "", true)
		}
		return WriteValue(id, value, o.Put.Version, false)
	case o.Put == nil && o.Delete != nil && o.Check == nil:
		id, err := KeyID(namespace, o.Delete.Key)
		return &interrexv1.ResourceServiceDeleteRequest{Id: ResourceID(id), Version: o.Delete.Version}, err
	case o.Put == nil && o.Delete == nil && o.Check != nil:
		id, err := KeyID(namespace, o.Check.Key)
		return &interrexv1.ResourceServiceCheckRequest{Id: ResourceID(id), Version: o.Check.Version}, err
	}
	return nil, interrex.Errorf(interrex.ErrInvalid, "give one of put, delete and check")
}

// KeyID returns the resource of a valid key. Its error is about the key, not the
// resource's name.
func KeyID(namespace, key string) (interrex.ResourceID, error) {
	id := ValueID(namespace, key)
	err := id.Validate()
	if err != nil && id.Tenancy.Validate() == nil {
		err = interrex.Errorf(interrex.ErrInvalid, "key: %s", strings.TrimPrefix(FromDetail(Detail(err)).Message, "name: "))
	}
	return id, err
}

// KeyError returns err with the keys of a namespace as their user wrote them. The
// text of a veto is the webhook's, and a denial names a rule: both stay unchanged.
func KeyError(namespace string, err error) error {
	known, is := err.(*interrex.Error)
	if !is || known.Kind == interrex.ErrVetoed || known.Kind == interrex.ErrDenied {
		return err
	}
	named := *known
	named.Message = strings.ReplaceAll(known.Message, ValueID(namespace, "").String(), "key ")
	return &named
}

// WriteValue returns the request to write a value: unconditionally, only over a
// version, or only if the key does not exist.
func WriteValue(id interrex.ResourceID, value []byte, version string, create bool) (*interrexv1.ResourceServiceWriteRequest, error) {
	if len(value) > maxValue {
		return nil, interrex.Errorf(interrex.ErrTooLarge, "value: at most %d bytes are allowed, not %d", maxValue, len(value))
	}
	data, err := Value(value)
	return &interrexv1.ResourceServiceWriteRequest{
		Resource: Resource(interrex.Resource{ID: id, Version: version, Data: data}), Overwrite: version == "" && !create,
	}, err
}
