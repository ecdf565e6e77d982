"""What tests of groups share: configuration text, and the lines that a failing member rightly puts into the error log."""
import gatehttpd
from gatehttpd import built

# mod_proxy's own words about a member that fails, and our summary of it.
MEMBER_TROUBLE = [r"\[proxy(_\w+)?:error\]", r"\[proxy(_\w+)?:warn\]", r"GATE022[2-6]", "GATE051[0-4]"]

# For tests in which a member fails again and again and is to be asked all the same.
NO_OUTLIER = ["GateOutlier off"] if built("gate_health") else []


def group(name, members, *lines):
    """<GateUpstream>; members are servers of the lab, URLs, or (server, "further words")."""
    text = [f"<GateUpstream {name}>"]
    for member in members:
        words = ""
        if isinstance(member, tuple):
            member, words = member
        url = member if isinstance(member, str) else member.url
        name_of = getattr(member, "name", None)
        if name_of and "id=" not in words:
            words += f" id={name_of}"
        text.append(f"    GateMember {url} {words}".rstrip())
    return "\n".join(text + [f"    {line}" for line in lines] + ["</GateUpstream>", ""])


def route(name="app", path="/", target="/", words=""):
    return f'ProxyPass "{path}" "gate://{name}{target}" {words}\n'


def behind(lab):
    """For tests of what is decided before a request is served, by whomever: on the express plane a member serves all, as httpd's files do elsewhere."""
    if gatehttpd.PLANE == "classic":
        return ""
    member = lab.upstream("behind")
    member.behave({"status": 404})
    member.behave({}, path="/")
    return group("behind", [member], *NO_OUTLIER) + route("behind")
