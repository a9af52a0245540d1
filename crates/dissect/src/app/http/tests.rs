use super::*;
use crate::Role;
use crate::testing::{Recorder, ctx, facts_of_stream, run_stream};

/// Client and server inside the estate.
fn inside(role: Role) -> Ctx {
    let (from, to) = if role == Role::Client { (40_000, 80) } else { (80, 40_000) };
    let mut here = ctx(from, to, role);
    here.src.ip = Some("10.0.0.7".parse().unwrap());
    here.dst.ip = Some("10.0.0.8".parse().unwrap());
    if role == Role::Client {
        std::mem::swap(&mut here.src.ip, &mut here.dst.ip);
    }
    here
}

fn check(role: Role, text: &str, expect: &str) {
    assert_eq!(facts_of_stream(run, text.as_bytes(), &inside(role)), expect);
}

fn answer(content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn requests_tell_about_clients() {
    check(
        Role::Client,
        "GET /router/firmware/query.aspx?model=DCH-S150_Ax_Default_FW_0120 HTTP/1.1\r\n\
         Host: wrpd.example.com:80\r\nUser-Agent: Dalvik/2.1.0 (Linux; SM-N7505)\r\n\
         X-Plex-Product: Plex HT 1.4\r\nX-Request-Id: a1\r\nX-Forwarded-For: 10.1.1.1\r\n\r\n\
         POST /login HTTP/1.1\r\nHost: 10.0.0.9\r\nAuthorization: Basic YTpi\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 18\r\n\r\n\
         user=a&password=b!GET / HTTP/1.1\r\n\r\n",
        "sender says http.request = GET /router/firmware/query.aspx?model=DCH-S150_Ax_Default_FW_0120\n\
         sender asks for wrpd.example.com\n\
         sender says http.user_agent = Dalvik/2.1.0 (Linux; SM-N7505)\n\
         sender says http.header.x-plex-product = Plex HT 1.4\n\
         sender says http.request = POST /login\n\
         sender event CleartextCredential: HTTP Basic credentials cross in clear text\n\
         sender event CleartextCredential: an HTTP form carries a password in clear text\n\
         sender says http.request = GET /",
    );
}

#[test]
fn responses_tell_about_servers() {
    check(
        Role::Server,
        "HTTP/1.1 401 Unauthorized\r\nServer: Boa/0.94\r\n\
         WWW-Authenticate: Basic realm=\"Netcam C20\"\r\nLocation: https://admin@cam.example/x\r\n\
         Set-Cookie: AIROS_1=secret; Path=/\r\nX-Powered-By: PHP/5\r\nContent-Length: 0\r\n\r\n",
        "sender says http.server = Boa/0.94\n\
         sender says http.realm = Netcam C20\n\
         sender event CleartextAdmin: asks for a password over HTTP Basic without TLS, realm `Netcam C20`\n\
         sender says http.redirect = cam.example\n\
         sender says http.cookie = AIROS_1\n\
         sender says http.powered_by = PHP/5",
    );
}

#[test]
fn framing_of_all_kinds() {
    // HEAD has no body, 304 neither; a chunked page; then a next response.
    let mut facts = Recorder::default();
    let requests = b"HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n";
    let _ = run_stream(run, requests, &inside(Role::Client), &mut facts);
    facts.lines.clear();
    let responses = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\nServer: s1\r\n\r\n\
        HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\nServer: s2\r\n\r\n\
        HTTP/1.1 100 Continue\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n\
        10;x=y\r\n<html><title>A &\r\n14\r\namp; B</title></html\r\n0\r\n\r\n\
        HTTP/1.1 200 OK\r\nServer: s3\r\n\r\n";
    let _ = run_stream(run, responses, &inside(Role::Server), &mut facts);
    assert_eq!(
        facts.text(),
        "sender says http.server = s1\nsender says http.server = s2\n\
         sender says http.title = A & B\nsender says http.server = s3"
    );
}

#[test]
fn cut_heads_tell_their_complete_lines_once() {
    let mut facts = Recorder::default();
    let whole = b"HTTP/1.1 200 OK\r\nServer: abc\r\nX-Powered-By: def\r\n\r\n";
    for end in [20, 31, 36, whole.len()] {
        let _ = run(&whole[..end], &inside(Role::Server), &mut facts);
    }
    let expect = "sender says http.server = abc\nsender says http.powered_by = def";
    assert_eq!(facts.text(), expect);
    // A second response of the same start line is a new one.
    let _ = run(whole, &inside(Role::Server), &mut facts);
    assert_eq!(facts.lines.len(), 4);
}

#[test]
fn long_bodies_are_passed_over() {
    let mut facts = Recorder::default();
    let here = inside(Role::Server);
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 100000\r\n\r\n";
    assert_eq!(run(head, &here, &mut facts), Step::Consumed(head.len()));
    assert_eq!(run(&[b'x'; 60_000], &here, &mut facts), Step::Consumed(60_000));
    let rest = [&[b'x'; 40_000][..], b"HTTP/1.1 200 OK\r\nServer: next\r\n\r\n"].concat();
    let _ = run_stream(run, &rest, &here, &mut facts);
    assert_eq!(facts.text(), "sender says http.server = next");
    // A gap in a body: the next head is found although bytes are still owed.
    let _ = run(head, &here, &mut facts);
    let _ = run_stream(run, b"HTTP/1.1 200 OK\r\nServer: after\r\n\r\n", &here, &mut facts);
    assert!(facts.text().ends_with("after"));
}

#[test]
fn firmware_on_its_way() {
    let mut facts = Recorder::default();
    let request = b"GET /fw/cam-1.2.bin HTTP/1.1\r\n\r\n";
    let _ = run_stream(run, request, &inside(Role::Client), &mut facts);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 7000000\r\n\r\nxxxx";
    let _ = run_stream(run, head, &inside(Role::Server), &mut facts);
    let upload = b"POST /cgi-bin/upgrade.cgi HTTP/1.1\r\nContent-Length: 7000000\r\n\r\n";
    let _ = run_stream(run, upload, &inside(Role::Client), &mut facts);
    assert_eq!(
        facts.text(),
        "sender says http.request = GET /fw/cam-1.2.bin\n\
         receiver event FirmwareTransfer: HTTP download of an image, 7000000 bytes\n\
         sender says http.request = POST /cgi-bin/upgrade.cgi\n\
         receiver event FirmwareTransfer: HTTP upload of 7000000 bytes to /cgi-bin/upgrade.cgi"
    );
}

#[test]
fn a_hue_bridge_and_its_lamps() {
    let body = r#"{"lights":{"1":{"state":{"on":true},"type":"Dimmable light","name":"Desk",
        "modelid":"LWB006","uniqueid":"00:17:88:01:10:3F:7A:B1-0b","swversion":"66015095"}},
        "config":{"name":"Hue","mac":"00:17:88:24:76:ff","modelid":"BSB002",
        "bridgeid":"001788FFFE2476FF","swversion":"01027237","apiversion":"1.9.0"},
        "sensors":{"1":{"modelid":"PHDL00","name":"Daylight"}}}"#;
    check(
        Role::Server,
        &answer("application/json", body),
        "sender says hue.name = Hue\nsender says hue.modelid = BSB002\n\
         sender says hue.swversion = 01027237\nsender says hue.apiversion = 1.9.0\n\
         sender says hue.bridgeid = 001788FFFE2476FF\n\
         sender is Mac 00:17:88:24:76:ff (hue.mac)\n\
         sender is VendorId 001788fffe2476ff (hue.bridgeid)\n\
         sender/hue[00:17:88:01:10:3f:7a:b1] is VendorId 00:17:88:01:10:3f:7a:b1 (hue.uniqueid)\n\
         sender/hue[00:17:88:01:10:3f:7a:b1] says hue.modelid = LWB006\n\
         sender/hue[00:17:88:01:10:3f:7a:b1] says hue.name = Desk\n\
         sender/hue[00:17:88:01:10:3f:7a:b1] says hue.type = Dimmable light\n\
         sender/hue[00:17:88:01:10:3f:7a:b1] says hue.swversion = 66015095",
    );
}

#[test]
fn known_json_interfaces() {
    let json =
        |body: &str, expect: &str| check(Role::Server, &answer("application/json", body), expect);
    json(
        r#"{"type":"SHSW-25","mac":"98F4ABB929CC","fw":"20200827-065456/v1.8.3"}"#,
        "sender says shelly.type = SHSW-25\nsender says shelly.firmware = 20200827-065456/v1.8.3\n\
         sender is Mac 98:f4:ab:b9:29:cc (shelly.mac)",
    );
    json(
        r#"{"name":"Kitchen","build_info":{"cast_build_revision":"1.56.28"},
            "device_info":{"model_name":"Example Mini","mac_address":"00:1B:1B:35:84:10"}}"#,
        "sender says eureka.name = Kitchen\nsender says eureka.model = Example Mini\n\
         sender says eureka.build = 1.56.28\nsender is Mac 00:1b:1b:35:84:10 (eureka.mac)",
    );
    json(
        r#"{"StatusFWR":{"Version":"9.5.0(tasmota)","Hardware":"ESP8266EX"}}"#,
        "sender says tasmota.version = 9.5.0(tasmota)\nsender says tasmota.hardware = ESP8266EX",
    );
    json(
        r#"{"apiVersion":"1.0","data":{"propertyList":{"ProdNbr":"M1065-L","Brand":"AXIS","Version":"9.80"}}}"#,
        "sender says http.api.model = M1065-L\nsender says http.api.vendor = AXIS",
    );
    json(r#"{"model":"X","items":[{"firmware":"1"}]}"#, "");
    json(r#"{"model":"X","firmware":"1"#, "");
}

#[test]
fn known_xml_interfaces() {
    let xml = |body: &str, expect: &str| check(Role::Server, &answer("text/xml", body), expect);
    xml(
        "<s:Envelope><s:Body><tds:GetDeviceInformationResponse><tds:Manufacturer>Acme\
         </tds:Manufacturer><tds:Model>C20</tds:Model><tds:FirmwareVersion>5.4</tds:FirmwareVersion>\
         <tds:SerialNumber>SN12345</tds:SerialNumber></tds:GetDeviceInformationResponse></s:Body>\
         </s:Envelope>",
        "sender says onvif_device.manufacturer = Acme\nsender says onvif_device.model = C20\n\
         sender says onvif_device.firmware = 5.4\nsender says onvif_device.serial = SN12345\n\
         sender is Serial SN12345 (onvif_device.serial)",
    );
    xml(
        "<soap:Envelope><GetDeviceSettingsResponse><VendorName>D-Link</VendorName>\
         <ModelName>DCH-G020</ModelName><FirmwareVersion>1.22</FirmwareVersion>",
        "sender says hnap.vendor = D-Link\nsender says hnap.model = DCH-G020\n\
         sender says hnap.firmware = 1.22",
    );
    xml(
        "<device-info><serial-number>YN00AB123456</serial-number><model-name>Streamer 4</model-name>\
         <software-version>9.1</software-version></device-info>",
        "sender says http.api.serial = YN00AB123456\nsender says http.api.model = Streamer 4\n\
         sender says http.api.firmware = 9.1",
    );
    check(
        Role::Server,
        &answer("text/plain", "root.Brand.ProdNbr=M1065-L\r\nroot.Brand.Brand=AXIS\r\n"),
        "sender says http.api.model = M1065-L\nsender says http.api.vendor = AXIS",
    );
}

#[test]
fn tunnels_and_upgrades_end_the_reading() {
    let mut facts = Recorder::default();
    let connect = b"CONNECT cloud.example:443 HTTP/1.1\r\n\r\n";
    let _ = run_stream(run, connect, &inside(Role::Client), &mut facts);
    let step = run(b"HTTP/1.1 200 OK\r\n\r\n", &inside(Role::Server), &mut facts);
    assert_eq!(step, Step::Done);
    let switched = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x05";
    assert_eq!(run(switched, &inside(Role::Server), &mut facts), Step::Done);
}

#[test]
fn probes() {
    for (bytes, expect) in [
        (&b"GET / HTTP/1.1\r\n"[..], Probe::Yes),
        (b"POST ", Probe::Maybe),
        (b"GET /cut/by/the/capture", Probe::Yes),
        (b"HTTP/1.0 200", Probe::Yes),
        (b"OPTIONS rtsp://x/ RTSP/1.0\r\n", Probe::No),
        (b"NOTIFY sip:x SIP/2.0\r\n", Probe::No),
        (b"GETTING", Probe::No),
        (b"", Probe::No),
    ] {
        assert_eq!(probe(bytes), expect, "{bytes:?}");
    }
    let mut waiting = 0;
    for n in 0..20 {
        let no_body = n == 13;
        waiting = push(waiting, Expectation { no_body, ..Expectation::default() });
    }
    for n in 0..20 {
        let (expected, rest) = pop(waiting);
        assert_eq!(expected.no_body, n == 13, "{n}");
        waiting = rest;
    }
    assert_eq!(pop(waiting), (Expectation::default(), 0));
}
