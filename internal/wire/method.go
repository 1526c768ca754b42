package wire

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/interrex/interrex/gen/interrexv1"
)

// Message is a pointer to a generated message T.
type Message[T any] interface {
	*T
	proto.Message
}

// Method is a method of the API as its .proto declares it.
type Method struct {
	Procedure string // /interrex.v1.LeaseService/Claim
	Number    uint32 // identifies it on a stream
	Class     interrexv1.Class
}

// MethodOf returns the declaration of a procedure, by its name in generated code:
// /interrex.v1.LeaseService/Claim. It fails if no linked .proto has the method, or
// if it lacks the option interrex.v1.method.
func MethodOf(procedure string) (Method, error) {
	d, err := find(procedure)
	if err != nil {
		return Method{}, err
	}
	return methodOf(d)
}

func find(procedure string) (protoreflect.MethodDescriptor, error) {
	service, name, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		return nil, fmt.Errorf("method %s: no linked .proto has it", procedure)
	}
	m, is := d.(protoreflect.MethodDescriptor)
	if !is {
		return nil, fmt.Errorf("method %s: it is not a method", procedure)
	}
	return m, nil
}

// Streams reports whether a procedure takes a stream of messages, and whether it
// answers with one. An unknown one counts as taking one message and answering with a
// stream.
func Streams(procedure string) (takes, answers bool) {
	d, err := find(procedure)
	if err != nil {
		return false, true
	}
	return d.IsStreamingClient(), d.IsStreamingServer()
}

// MethodsOf returns the declarations of the service that a procedure belongs to.
func MethodsOf(procedure string) ([]Method, error) {
	service, _, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", service, err)
	}
	s, is := d.(protoreflect.ServiceDescriptor)
	if !is {
		return nil, fmt.Errorf("service %s: it is not a service", service)
	}
	var all []Method
	for i := range s.Methods().Len() {
		m, err := methodOf(s.Methods().Get(i))
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func methodOf(d protoreflect.MethodDescriptor) (Method, error) {
	m := Method{Procedure: fmt.Sprintf("/%s/%s", d.Parent().FullName(), d.Name())}
	options, _ := d.Options().(*descriptorpb.MethodOptions)
	declared, _ := proto.GetExtension(options, interrexv1.E_Method).(*interrexv1.Method)
	m.Number, m.Class = declared.GetNumber(), declared.GetClass()
	if m.Number == 0 || m.Class == interrexv1.Class_CLASS_UNSPECIFIED {
		return m, fmt.Errorf("method %s: its number or class is missing in its .proto: add the option interrex.v1.method", m.Procedure)
	}
	return m, nil
}

// Takes checks that a method has messages of these types in its .proto.
func (m Method) Takes(request, answer proto.Message) error {
	d, err := find(m.Procedure)
	if err != nil {
		return err
	}
	q, a := request.ProtoReflect().Descriptor().FullName(), answer.ProtoReflect().Descriptor().FullName()
	if d.Input().FullName() != q || d.Output().FullName() != a {
		return fmt.Errorf("method %s: in its .proto it takes %s and returns %s, not %s and %s", m.Procedure, d.Input().FullName(), d.Output().FullName(), q, a)
	}
	return nil
}

// Name returns the method's own name: Claim.
func (m Method) Name() string { return m.Procedure[strings.LastIndexByte(m.Procedure, '/')+1:] }

// Service returns the full name of its service: interrex.v1.LeaseService.
func (m Method) Service() string { return m.Procedure[1:strings.LastIndexByte(m.Procedure, '/')] }

// Writes reports whether the method may change something.
func (m Method) Writes() bool {
	return m.Class == interrexv1.Class_CLASS_HARMLESS || m.Class == interrexv1.Class_CLASS_RECORDED
}
