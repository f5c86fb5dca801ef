"""/api/token/, /api/token/refresh/ and the public keys."""

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge_api.contract.tokens import as_jwk
from todos.tokens import openapi
from todos.tokens.authentication import CHALLENGE
from todos.tokens.issue import RefreshRefused, TokenPair, refresh, sign_in
from todos.tokens.keys import NoSigningKey, known_keys

JWKS_SECONDS = 5  # an edge asks as often


class SigningUnavailable(APIException):
    status_code = 503
    wait = 60  # seconds, for Retry-After
    default_detail = "No token can be signed: an operator must create a signing key."


class _TokenView(APIView):
    authentication_classes = []
    permission_classes = []

    def get_authenticate_header(self, request: Request) -> str:
        return CHALLENGE  # without it REST framework would answer 403 instead of 401

    def respond(self, pair: TokenPair) -> Response:
        body = {**pair._asdict(), "token_type": "Bearer", "expires_in": openapi.ACCESS_SECONDS}
        return Response(body, headers={"Cache-Control": "no-store"})


class TokenView(_TokenView):
    """Sign in with a name and a password: an access token for ten minutes, and a refresh token to get the next one."""

    @openapi.sign_in
    def post(self, request: Request) -> Response:
        serializer = openapi.Credentials(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = serializer.validated_data
        user = authenticate(request._request, username=fields["username"], password=fields["password"])
        if not isinstance(user, User):
            raise AuthenticationFailed("There is no active user with this name and password.")
        try:
            return self.respond(sign_in(user, fields["scope"].split()))
        except NoSigningKey as exc:
            raise SigningUnavailable from exc


class RefreshView(_TokenView):
    """Get the next pair of tokens. Using a refresh token twice ends all tokens of its sign-in."""

    @openapi.refresh
    def post(self, request: Request) -> Response:
        serializer = openapi.OldToken(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            return self.respond(refresh(serializer.validated_data["refresh"]))
        except RefreshRefused:
            raise AuthenticationFailed("The refresh token is unknown, used or expired. Sign in again.") from None
        except NoSigningKey as exc:
            raise SigningUnavailable from exc


@csrf_exempt  # so that a POST gets a 405 that lists the methods
@require_safe
@cache_control(public=True, max_age=JWKS_SECONDS)
def jwks(request: HttpRequest) -> JsonResponse:
    """Return the public keys that verify tokens, as a JSON Web Key Set."""
    return JsonResponse({"keys": [as_jwk(kid, key) for kid, key in known_keys().items()]})
