"""header_parser.py: the public headers as a bindings generator reads them.

`read(paths)` gives an Interface: structs with their fields and types, opaque handles, enums with the values of their
members, callback types, functions, inline functions, macros and comments.  It knows the C that the headers are written
in and refuses everything else with its line: what this reader does not understand, others would not either."""
import re

TOKEN = re.compile(r"\s+|([A-Za-z_]\w*|0[xX][0-9a-fA-F]+|\d+|\"[^\"]*\"|\.\.\.|<<|>>|&&|\|\||[-+*/%&|^~!<>=?:;,.(){}\[\]])")
SCALARS = {"void", "char", "int", "unsigned", "long", "short", "bool", "_Bool", "signed", "float", "double", "size_t",
           "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t", "uintptr_t"}


class HeaderError(Exception):
    pass


class Type:
    """kind: "name" (of), "pointer" (to, const says whether what it points to is), "array" (to, count),
    "function" (to = result, parameters)."""

    def __init__(self, kind, to=None, name="", const=False, count=0, parameters=()):
        self.kind, self.to, self.name, self.const, self.count, self.parameters = kind, to, name, const, count, parameters

    def c(self, name=""):
        """The C declaration of `name` with this type."""
        if self.kind == "name":
            return ("const " if self.const else "") + self.name + (" " + name if name else "")
        if self.kind == "pointer":
            inner = "*const " + name if self.const else "*" + name
            return self.to.c("(%s)" % inner if self.to.kind in ("function", "array") else inner)
        if self.kind == "array":
            return self.to.c("%s[%d]" % (name, self.count))
        arguments = ", ".join(p.type.c(p.name) for p in self.parameters) or "void"
        return self.to.c("%s(%s)" % (name, arguments))


class Declaration:
    def __init__(self, name, type, header, line, bits=False):
        self.name, self.type, self.header, self.line, self.bits = name, type, header, line, bits


class Interface:
    def __init__(self):
        self.structs = {}    # name -> [Declaration]
        self.opaque = {}     # name -> header
        self.enums = {}      # name -> [(member, value)]; "" holds those without a name
        self.callbacks = {}  # name -> Type of the function
        self.functions = {}  # name -> Declaration
        self.inlines = {}    # name -> Declaration
        self.macros = {}     # name -> (text, header)
        self.comments = []   # (header, first line, last line, text with the marks taken off)
        self.where = {}      # name of a struct, enum or callback -> (header, line)
        self.lines = {}      # header -> its lines


class Reader:
    def __init__(self, interface, header, text):
        self.interface, self.header = interface, header
        interface.lines[header] = text.split("\n")
        self.tokens = self.tokenize(self.directives(self.comments(text)))
        self.at = 0

    def fail(self, what):
        line = self.tokens[min(self.at, len(self.tokens) - 1)][1] if self.tokens else 1
        raise HeaderError("%s:%d: %s" % (self.header, line, what))

    # --- text -------------------------------------------------------------------------

    def comments(self, text):
        def blank(match):
            first = text.count("\n", 0, match.start()) + 1
            body = match.group(0)
            said = [re.sub(r"^\s*\* ?", "", line) for line in body[2:-2].rstrip().split("\n")]
            said[0] = said[0].strip()
            self.interface.comments.append((self.header, first, first + body.count("\n"), "\n".join(said)))
            return " " + "\n" * body.count("\n")
        return re.sub(r"/\*.*?\*/", blank, text, flags=re.S)

    def directives(self, text):
        """Takes the preprocessor's lines out, remembers macros, drops what only C++ sees."""
        out, skipping, lines, i = [], [], text.split("\n"), 0
        while i < len(lines):
            line, more = lines[i], 0
            while line.endswith("\\") and lines[i].lstrip().startswith("#") or (more and line.endswith("\\")):
                more += 1
                line = line[:-1] + " " + lines[i + more].strip()
            if lines[i].lstrip().startswith("#"):
                word = line.split()[0] if line.split()[0] != "#" else "#" + line.split()[1]
                if word in ("#if", "#ifdef", "#ifndef"):
                    skipping.append("__cplusplus" in line)
                elif word == "#endif":
                    skipping.pop()
                elif word == "#define" and not any(skipping):
                    name, rest = re.match(r"\s*#\s*define\s+(\w+(?:\([^)]*\))?)\s*(.*)", line).groups()
                    self.interface.macros.setdefault(name, (rest.strip(), self.header))
                out += [""] * (1 + more)
            else:
                out.append("" if any(skipping) else lines[i])
            i += 1 + more
        return "\n".join(out)

    def tokenize(self, text):
        tokens, at, line = [], 0, 1
        while at < len(text):
            match = TOKEN.match(text, at)
            if not match:
                raise HeaderError("%s:%d: cannot be read: %r" % (self.header, line, text[at:at + 20]))
            if match.group(1):
                tokens.append((match.group(1), line))
            line += match.group(0).count("\n")
            at = match.end()
        return tokens

    # --- tokens -----------------------------------------------------------------------

    def peek(self, ahead=0):
        return self.tokens[self.at + ahead][0] if self.at + ahead < len(self.tokens) else ""

    def take(self, expected=None):
        token = self.peek()
        if not token or (expected and token != expected):
            self.fail("expected %s, found %r" % (expected or "more", token or "the end"))
        self.at += 1
        return token

    def accept(self, token):
        if self.peek() == token:
            self.at += 1
            return True
        return False

    def line(self):
        return self.tokens[self.at][1]

    # --- declarations -----------------------------------------------------------------

    def file(self):
        while self.at < len(self.tokens):
            if self.accept("CM_API"):
                self.function(self.interface.functions)
                self.take(";")
            elif self.accept("typedef"):
                self.typedef()
            elif self.accept("static"):
                self.take("inline")
                self.function(self.interface.inlines)
                self.body()
            elif self.accept("enum"):
                self.enum(self.take() if self.peek() != "{" else "")
                self.take(";")
            else:
                self.fail("a declaration that is no function (CM_API), typedef, enum or inline function: %r" % self.peek())

    def body(self):
        self.take("{")
        depth = 1
        while depth:
            token = self.take()
            depth += (token == "{") - (token == "}")

    def typedef(self):
        line = self.line()
        if self.accept("enum"):
            name = self.take()
            self.enum(name)
            self.take(name)
        elif self.accept("struct"):
            name = self.take()
            if self.peek() == "{":
                self.interface.structs[name] = self.fields()
            else:
                self.interface.opaque[name] = self.header
            self.take(name)
        else:
            d = self.declarator(self.specifiers())
            if d.type.kind != "pointer" or d.type.to.kind != "function":
                self.fail("a typedef of another name for a type: %s" % d.name)
            name = d.name
            self.interface.callbacks[name] = d.type.to
        self.interface.where[name] = (self.header, line)
        self.take(";")

    def enum(self, name):
        self.interface.where.setdefault(name, (self.header, self.line()))
        members, known = [], {m: v for e in self.interface.enums.values() for m, v in e}
        self.take("{")
        value = -1
        while self.peek() != "}":
            member = self.take()
            value += 1
            if self.accept("="):
                words = []
                while self.peek() not in (",", "}"):
                    words.append(self.take())
                try:
                    value = eval(" ".join(words), {"__builtins__": {}}, dict(known))
                except Exception:
                    self.fail("the value of %s cannot be computed: %s" % (member, " ".join(words)))
            known[member] = value
            members.append((member, value))
            self.accept(",")
        self.take("}")
        if name:
            self.interface.enums[name] = members
        else:
            self.interface.enums.setdefault("", []).extend(members)

    def fields(self):
        fields = []
        self.take("{")
        while not self.accept("}"):
            base = self.specifiers()
            while True:
                d = self.declarator(base)
                d.bits = self.accept(":") and bool(self.take())
                fields.append(d)
                if not self.accept(","):
                    break
            self.take(";")
        return fields

    def specifiers(self):
        const, words = False, []
        while re.match(r"[A-Za-z_]", self.peek()):
            word = self.peek()
            if word == "const":
                const = True
            elif word in ("struct", "enum"):
                pass
            elif not words or (word in SCALARS and words[-1] in ("unsigned", "signed", "long", "short")):
                words.append(word)
            else:
                break
            self.at += 1
        if not words:
            self.fail("a type was expected, found %r" % self.peek())
        return Type("name", name=" ".join(words), const=const)

    def declarator(self, base):
        while self.accept("*"):
            base = Type("pointer", to=base)
            base.const = self.accept("const")
        line = self.line()
        if self.peek() == "(" and self.peek(1) == "*":
            self.take("(")
            self.take("*")
            name = self.take()
            self.take(")")
            return Declaration(name, Type("pointer", to=Type("function", to=base, parameters=self.parameters())),
                               self.header, line)
        name = self.take() if re.match(r"[A-Za-z_]", self.peek()) else ""
        if self.peek() == "(":
            return Declaration(name, Type("function", to=base, parameters=self.parameters()), self.header, line)
        if self.accept("["):
            count = int(self.take(), 0)
            self.take("]")
            base = Type("array", to=base, count=count)
        return Declaration(name, base, self.header, line)

    def parameters(self):
        self.take("(")
        if self.peek() == "void" and self.peek(1) == ")":
            self.at += 2
            return []
        parameters = []
        while True:
            if self.accept("..."):
                parameters.append(Declaration("", Type("name", name="..."), self.header, self.line()))
            else:
                d = self.declarator(self.specifiers())
                if d.type.kind == "array":
                    d.type = Type("pointer", to=d.type.to)
                parameters.append(d)
            if not self.accept(","):
                break
        self.take(")")
        return parameters

    def function(self, into):
        d = self.declarator(self.specifiers())
        if d.type.kind != "function":
            self.fail("%s is a variable, not a function" % d.name)
        if d.name in into:
            self.fail("%s is declared twice" % d.name)
        into[d.name] = d


def read(paths):
    interface = Interface()
    for path in paths:
        with open(path, encoding="utf-8") as f:
            Reader(interface, path, f.read()).file()
    return interface


def read_text(name, text):
    interface = Interface()
    Reader(interface, name, text).file()
    return interface
