//! Tests of AWS signatures against the published test suite and, for Bedrock's model names in the path, which the suite lacks,
//! against signatures made by `botocore`.

use crate::http::percent::push_escaped;
use crate::signing::sigv4::{AmzDate, AwsKeys, Scope, ToSign, write_headers};

/// 2015-08-30T12:36:00Z, the time of the suite.
const AT: u64 = 1_440_938_160;
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

type Case<'c> = (
    &'c str,
    &'c str,
    &'c str,
    &'c [(&'c str, &'c str)],
    &'c str,
    &'c str,
    &'c str,
);

/// Name, method, target, further headers, body, names signed, signature: all of the AWS Signature Version 4
/// test suite but `get-header-value-multiline`, whose folded header the codec refuses, and
/// `post-sts-header-after`, which is `post-vanilla` with a token that is not signed.
const SUITE: &[Case<'_>] = &[
    (
        "get-header-key-duplicate",
        "GET",
        "/",
        &[
            ("my-header1", "value2"),
            ("my-header1", "value2"),
            ("my-header1", "value1"),
        ],
        "",
        "host;my-header1;x-amz-date",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    (
        "get-header-value-order",
        "GET",
        "/",
        &[
            ("my-header1", "value4"),
            ("my-header1", "value1"),
            ("my-header1", "value3"),
            ("my-header1", "value2"),
        ],
        "",
        "host;my-header1;x-amz-date",
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    (
        "get-header-value-trim",
        "GET",
        "/",
        &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        "",
        "host;my-header1;my-header2;x-amz-date",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "get-unreserved",
        "GET",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        &[],
        "",
        "host;x-amz-date",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    (
        "get-utf8",
        "GET",
        "/ሴ",
        &[],
        "",
        "host;x-amz-date",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    (
        "get-vanilla-empty-query-key",
        "GET",
        "/?Param1=value1",
        &[],
        "",
        "host;x-amz-date",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    (
        "get-vanilla-query-order-encoded",
        "GET",
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        &[],
        "",
        "host;x-amz-date",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    (
        "get-vanilla-query-order-key-case",
        "GET",
        "/?Param2=value2&Param1=value1",
        &[],
        "",
        "host;x-amz-date",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-vanilla-query-order-key",
        "GET",
        "/?Param1=value2&Param1=Value1",
        &[],
        "",
        "host;x-amz-date",
        "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
    ),
    (
        "get-vanilla-query-order-value",
        "GET",
        "/?Param1=value2&Param1=value1",
        &[],
        "",
        "host;x-amz-date",
        "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
    ),
    (
        "get-vanilla-query-unreserved",
        "GET",
        "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        &[],
        "",
        "host;x-amz-date",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    (
        "get-vanilla",
        "GET",
        "/",
        &[],
        "",
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-vanilla-utf8-query",
        "GET",
        "/?ሴ=bar",
        &[],
        "",
        "host;x-amz-date",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    (
        "get-relative-relative",
        "GET",
        "/example1/example2/../..",
        &[],
        "",
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-relative",
        "GET",
        "/example/..",
        &[],
        "",
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slash-dot-slash",
        "GET",
        "/./",
        &[],
        "",
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slash-pointless-dot",
        "GET",
        "/./example",
        &[],
        "",
        "host;x-amz-date",
        "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    (
        "get-slash",
        "GET",
        "//",
        &[],
        "",
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slashes",
        "GET",
        "//example//",
        &[],
        "",
        "host;x-amz-date",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    (
        "get-space",
        "GET",
        "/example space/",
        &[],
        "",
        "host;x-amz-date",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    (
        "get-special-character",
        "GET",
        "/example/$delete",
        &[],
        "",
        "host;x-amz-date",
        "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27",
    ),
    (
        "post-vanilla, post-header-key-case",
        "POST",
        "/",
        &[],
        "",
        "host;x-amz-date",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    (
        "post-header-key-sort",
        "POST",
        "/",
        &[("my-header1", "value1")],
        "",
        "host;my-header1;x-amz-date",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    (
        "post-header-value-case",
        "POST",
        "/",
        &[("my-header1", "VALUE1")],
        "",
        "host;my-header1;x-amz-date",
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    (
        "post-vanilla-query, post-vanilla-empty-query-value",
        "POST",
        "/?Param1=value1",
        &[],
        "",
        "host;x-amz-date",
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    (
        "post-x-www-form-urlencoded-parameters",
        "POST",
        "/",
        &[(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf8",
        )],
        "Param1=value1",
        "content-type;host;x-amz-date",
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
    ),
    (
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        &[("content-type", "application/x-www-form-urlencoded")],
        "Param1=value1",
        "content-type;host;x-amz-date",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
];

/// The header lines for a request to `host` at the time of the suite.
fn headers(
    keys: &AwsKeys,
    scope: Scope<'_>,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut out = Vec::new();
    let request = ToSign {
        method,
        path,
        query,
        headers,
        body: body.as_bytes(),
    };
    write_headers(&mut out, keys, scope, AmzDate::from_unix(AT), &request);
    String::from_utf8(out).unwrap()
}

const SUITE_SCOPE: Scope<'_> = Scope {
    region: "us-east-1",
    service: "service",
};

#[test]
fn signatures_are_those_of_the_published_suite() {
    let keys = AwsKeys::new("AKIDEXAMPLE", SECRET, None);
    for (name, method, target, further, body, names, signature) in SUITE {
        let mut all = vec![("host", "example.amazonaws.com")];
        all.extend_from_slice(further);
        let expected = format!(
            "x-amz-date: 20150830T123600Z\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={names}, Signature={signature}\r\n"
        );
        let written = headers(&keys, SUITE_SCOPE, method, target, &all, body);
        assert_eq!(written, expected, "{name}");
    }
}

#[test]
fn signatures_with_session_tokens_are_those_of_the_suite() {
    let cases = [
        (
            "GET",
            "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ),
        (
            "POST",
            "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ),
    ];
    for (method, token, signature) in cases {
        let keys = AwsKeys::new("AKIDEXAMPLE", SECRET, Some(token));
        let host = [("host", "example.amazonaws.com")];
        let written = headers(&keys, SUITE_SCOPE, method, "/", &host, "");
        assert!(written.contains(&format!("x-amz-security-token: {token}\r\n")));
        let expected = format!(
            "SignedHeaders=host;x-amz-date;x-amz-security-token, Signature={signature}\r\n"
        );
        assert!(written.ends_with(&expected), "{written}");
    }
}

/// Signatures by `botocore` 1.44.5 (`SigV4Auth.add_auth`) of the same requests.
#[test]
fn model_names_with_colons_and_slashes_are_encoded_twice() {
    let body = "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"hi é\"}]}]}";
    let cases = [
        (
            "us-east-1",
            "anthropic.claude-3-5-sonnet-20240620-v1:0",
            "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse",
            None,
            "51430fb582b89fe3942db189301c87a573597ee823d1eca50ded2520c78ad7f0",
        ),
        (
            "eu-central-1",
            "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-20250514-v1:0",
            "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2Feu.anthropic.claude-sonnet-4-20250514-v1%3A0/converse-stream",
            Some("IQoJb3JpZ2luX2VjEXAMPLE//+token=="),
            "b889323b22ab9be92d27d729b96adaa6504a04fb593d6c3eee1ef93ee16d5dfb",
        ),
    ];
    for (region, model, path, token, signature) in cases {
        let operation = path.rsplit('/').next().unwrap();
        let mut target = "/model/".to_owned();
        push_escaped(model, b"", &mut target);
        target.push_str(&format!("/{operation}"));
        assert_eq!(target, path);
        let host = format!("bedrock-runtime.{region}.amazonaws.com");
        let all = [
            ("host", host.as_str()),
            ("content-type", "application/json"),
        ];
        let keys = AwsKeys::new("AKIDEXAMPLE", SECRET, token);
        let scope = Scope {
            region,
            service: "bedrock",
        };
        let written = headers(&keys, scope, "POST", path, &all, body);
        assert!(
            written.ends_with(&format!(", Signature={signature}\r\n")),
            "{written}"
        );
    }
}

#[test]
fn times_are_written_in_utc() {
    let cases = [
        (0, "19700101T000000Z"),
        (AT, "20150830T123600Z"),
        (951_782_399, "20000228T235959Z"),
        (951_782_400, "20000229T000000Z"),
        (1_709_251_199, "20240229T235959Z"),
        (1_735_689_599, "20241231T235959Z"),
        (4_107_542_400, "21000301T000000Z"),
        (253_402_300_799, "99991231T235959Z"),
    ];
    for (seconds, text) in cases {
        assert_eq!(AmzDate::from_unix(seconds).text(), text);
    }
}

#[test]
fn secrets_are_not_shown() {
    let keys = AwsKeys::new("AKIDEXAMPLE", SECRET, Some("token"));
    assert_eq!(format!("{keys:?}"), "AwsKeys(AKIDEXAMPLE, …)");
}
